"""How repeatable Step-Mask's choice is, and what would make it more so: a model of its bits, fitted to the draws.

What is seen is how often two draws of the present settings choose the same trace. What other settings would do has to
be computed. The log-odds of a bit are those of its trace and of its mask level added up (the Rasch model). The levels'
are those of their share of ones. The traces' are drawn from what is known of them: a Beta distribution with the mean
and the spread that traces show in different draws, and the trace's own bits. How much the traces of one question differ
is then scaled by one factor, for which two simulated runs agree as often as was seen. With other settings whole runs
are simulated and their choices counted.

More attempts (``majority``) sharpen each bit: it is decided by what most of them say. Here that is computed as if there
were one wrong answer alone; where there are several, the right one needs fewer votes. More mask levels lie between the
present ones, with log-odds between theirs.
"""

import random
from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb, exp, log
from typing import NamedTuple

from weak2wise.outputs.comparison.facts import Compared, Noise, Prediction
from weak2wise.outputs.comparison.measures import STEPMASK, same_winner
from weak2wise.statistics import Estimate
from workers.scorers.masking import exact_weights

WANTED = 0.9
"""Two runs that agree in so many questions count as settled."""
MAJORITIES = (1, 3, 5, 9, 17, 33)
FINER = (2, 4)
"""Times as many mask levels."""
SIMULATED = 1000
"""Questions to simulate, the same ones several times if there are fewer: the share is then good to three points."""
_HALVINGS = 7
_WIDEST = 3.0
"""The largest factor."""
_GRID = 500
_NEVER = -30.0
"""The log-odds of a trace without steps."""

Chances = list[list[float]]
"""The probability of each bit, by trace and mask level."""


class Settings(NamedTuple):
    """What decides a Step-Mask score."""

    n_mask: int
    majority: int
    weights: Callable[[int], tuple[int, ...]]
    """By the number of mask levels."""


class _Question(NamedTuple):
    lengths: tuple[tuple[int, int], ...]
    traces: list[float]
    """The log-odds of each trace."""


class _Model(NamedTuple):
    questions: list[_Question]
    levels: list[float]
    """The log-odds of each mask level, beside a trace's."""


def noise(questions: Sequence[Compared], n_mask: int, majority: int, *, beta: float, normalization: str) -> Noise:
    """How often the winner changes, and what the model says of other settings. Takes seconds; blocks."""
    seen = same_winner(questions, STEPMASK, STEPMASK)

    def weights(levels: int) -> tuple[int, ...]:
        return exact_weights(levels, beta=beta, normalization=normalization)  # type: ignore[arg-type]

    now = Settings(n_mask, majority, weights)
    model = _model(questions, n_mask)
    factors = [_fitted(model, now, share) for share in (seen.value, seen.low, seen.high)]

    def predicted(levels: int, votes: int) -> Prediction:
        then = Settings(levels, votes, weights)
        return Prediction(levels, votes, *(agreement(model, factor, now, then) for factor in factors))

    by_votes = [predicted(n_mask, votes) for votes in MAJORITIES if votes > majority]
    by_levels = [predicted(n_mask * finer, majority) for finer in FINER]
    return Noise(
        changes=_opposite(seen),
        present=predicted(n_mask, majority),
        predictions=[*by_votes, *by_levels],
        settles={
            "majority": next((one.majority for one in by_votes if one.same >= WANTED), None),
            "n_mask": next((one.n_mask for one in by_levels if one.same >= WANTED), None),
        },
        wanted=WANTED,
    )


def majority_chance(chance: float, votes: int) -> float:
    """The probability that most of so many attempts succeed, each with this one; of a tie the first attempt decides."""
    half, even = divmod(votes, 2)
    above = sum(comb(votes, k) * chance**k * (1 - chance) ** (votes - k) for k in range(half + 1, votes + 1))
    tie = 0.0 if even else comb(votes, half) * (chance * (1 - chance)) ** half / 2
    return above + tie


def agreement(model: _Model, factor: float, now: Settings, then: Settings) -> float:
    """How often two simulated runs with the settings ``then`` choose the same trace.

    Args:
        model: of bits as they are with the settings ``now``.
        factor: scales how much the traces of a question differ.
        now: the settings of the draws.
        then: those to simulate.
    """
    draw, weights = random.Random(0), then.weights(then.n_mask)
    levels, sharper = _between(model.levels, then.n_mask), _sharper(now.majority, then.majority)
    same = 0
    for question in model.questions:
        middle = sum(question.traces) / len(question.traces)
        chances = [
            [sharper(_chance(middle + factor * (trace - middle) + level)) for level in levels]
            for trace in question.traces
        ]
        first, second = (_winner(chances, question.lengths, weights, draw) for _ in range(2))
        same += first == second
    return same / len(model.questions)


def _winner(chances: Chances, lengths: Sequence[tuple[int, int]], weights: Sequence[int], draw: random.Random) -> int:
    number = draw.random
    worth = [sum(w for w, chance in zip(weights, row, strict=True) if number() < chance) for row in chances]
    return min(range(len(worth)), key=lambda at: (-worth[at], lengths[at], at))


def _fitted(model: _Model, now: Settings, share: float) -> float:
    """The factor for which two runs with the present settings agree this often, or as nearly as can be."""
    low, high = 0.0, _WIDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if agreement(model, middle, now, now) < share else (low, middle)
    return (low + high) / 2


def _model(questions: Sequence[Compared], levels: int) -> _Model:
    """The bits of these questions, each with log-odds drawn from what is known of them."""
    draw = random.Random(1)
    by_trace = [trace for question in questions for trace in _bits(question) if trace]
    ones, zeros = _prior(by_trace)
    by_level = [_share([bits[level] for trace in by_trace for bits in trace]) for level in range(levels)]
    whole = _odds(sum(by_level) / len(by_level)) if by_level else 0.0

    def odds(trace: Sequence[Sequence[int]]) -> float:
        bits = [bit for draws in trace for bit in draws]
        return _odds(draw.betavariate(ones + sum(bits), zeros + len(bits) - sum(bits))) if bits else _NEVER

    chosen = list(questions) if len(questions) <= SIMULATED else draw.sample(questions, SIMULATED)
    simulated = [
        _Question(question.lengths, [odds(trace) for trace in _bits(question)])
        for _ in range(-(-SIMULATED // len(chosen)))
        for question in chosen
    ]
    return _Model(simulated, [_odds(share) - whole for share in by_level])


def _bits(question: Compared) -> list[list[tuple[int, ...]]]:
    """The bits of each trace, by draw and mask level; empty for a trace without steps."""
    traces = zip(*(choice.bits or () for choice in question.choices[STEPMASK]), strict=True)
    return [[bits for bits in draws if bits] for draws in traces]


def _prior(traces: Sequence[Sequence[Sequence[int]]]) -> tuple[float, float]:
    """The Beta distribution with the mean and spread of the traces' shares of ones.

    The product of the shares of one trace in two draws is, in the mean, that of the squared probability.
    """
    shares = [[sum(bits) / len(bits) for bits in trace] for trace in traces]
    both = [a * b for trace in shares for a, b in combinations(trace, 2)]
    middle, count = _share([bit for trace in traces for bits in trace for bit in bits]), len(traces)
    # Kept a little away from its ends, so that a few equal traces do not make it certain that all are.
    least, most = (middle * (1 - middle) * part / (count + 2) for part in (1, count + 1))
    spread = min(max(sum(both) / len(both) - middle**2, least), most) if both else most
    size = middle * (1 - middle) / spread - 1
    return middle * size, (1 - middle) * size


def _share(bits: Sequence[int]) -> float:
    """The share of ones, never quite 0 or 1."""
    return (sum(bits) + 0.5) / (len(bits) + 1)


def _odds(chance: float) -> float:
    within = min(max(chance, 1e-9), 1 - 1e-9)
    return log(within / (1 - within))


def _chance(odds: float) -> float:
    return 1 / (1 + exp(-odds))


def _between(row: Sequence[float], levels: int) -> list[float]:
    """The log-odds of so many mask levels, on straight lines between those known; beyond the last one, its own."""
    if levels == len(row):
        return list(row)
    found = []
    for level in range(levels):
        place = level * len(row) / levels
        below = int(place)
        above = min(below + 1, len(row) - 1)
        found.append(row[below] + (place - below) * (row[above] - row[below]))
    return found


def _sharper(now: int, then: int) -> Callable[[float], float]:
    """From a bit's probability with ``now`` votes to that with ``then`` votes."""
    if now == then:
        return lambda chance: chance
    grid = [at / _GRID for at in range(_GRID + 1)]
    known, wanted = ([majority_chance(chance, votes) for chance in grid] for votes in (now, then))
    table = [0.0] * (_GRID + 1)
    at = 0
    for number, chance in enumerate(grid):
        while at < _GRID and known[at] < chance:
            at += 1
        table[number] = wanted[at]
    return lambda chance: table[round(chance * _GRID)]


def _opposite(share: Estimate) -> Estimate:
    return Estimate(
        value=1 - share.value, low=1 - share.high, high=1 - share.low, error=share.error, clusters=share.clusters
    )
