"""The measures of a comparison: agreement, rank correlation, and Step-Mask's regret of each criterion.

Sampled bits are noisy. What chooses a trace by some draws and measures it on the same draws flatters itself: it finds
the draws' luck. So whatever is compared here comes from different draws: two criteria, or two runs of the same one, and
the choice of a trace and its score. For a criterion that draws nothing that changes nothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations

from weak2wise.outputs.comparison.facts import Compared, Cost, Criterion
from weak2wise.rank_correlation import Pairs, pairs, tau_b
from weak2wise.statistics import Estimate, cluster_bootstrap, proportion

STEPMASK = "stepmask"
"""The scorer that all are compared with."""


def same_winner(questions: Sequence[Compared], one: str, other: str) -> Estimate:
    """Share of questions in which two criteria choose the same trace, in different draws."""
    return proportion(
        [
            [
                float(q.choices[one][a].winner == q.choices[other][b].winner)
                for a, b in permutations(range(len(q.choices[one])), 2)
            ]
            for q in questions
        ]
    )


def correlation(questions: Sequence[Compared], one: str, other: str) -> Estimate | None:
    """Kendall's tau-b between two criteria, in different draws; ``None`` where it is not defined.

    The higher the better on both sides: an order counts from 0, so equal signs cancel.
    """
    counts = [_pairs_of(question, one, other) for question in questions]
    try:
        return cluster_bootstrap(counts, tau_b)
    except ValueError:  # in most resamples one of the two tells no traces apart
        return None


def _pairs_of(question: Compared, one: str, other: str) -> Pairs:
    """The pairs of one question, over all draws."""
    first, second = question.choices[one], question.choices[other]
    found = [pairs(first[a].order, second[b].order) for a, b in permutations(range(len(first)), 2)]
    return Pairs(*map(sum, zip(*found, strict=True)))


def chosen_score(question: Compared, name: str) -> float:
    """The mean Step-Mask score of the trace that a criterion chooses, in every draw but that of its choice."""
    choices, measured = question.choices[name], question.choices[STEPMASK]
    draws = permutations(range(len(choices)), 2)
    return _mean([measured[b].scores[choices[a].winner] for a, b in draws])


def best_score(question: Compared) -> float:
    """The Step-Mask score of the trace with the highest mean in all the other draws, mean over the draws left out."""
    measured = question.choices[STEPMASK]
    found = []
    for left_out, choice in enumerate(measured):
        others = [other.scores for at, other in enumerate(measured) if at != left_out]
        means = [sum(scores) for scores in zip(*others, strict=True)]
        best = min(range(len(means)), key=lambda at, means=means: (-_rounded(means[at]), question.lengths[at], at))  # type: ignore[misc]
        found.append(choice.scores[best])
    return _mean(found)


def flattered_score(question: Compared) -> float:
    """The highest mean Step-Mask score of a trace over all draws."""
    measured = question.choices[STEPMASK]
    return max(map(_mean, zip(*(choice.scores for choice in measured), strict=True)))


def mean_of(questions: Sequence[Compared], value: Callable[[Compared], float]) -> Estimate:
    """The mean of a value of each question."""
    return cluster_bootstrap([value(question) for question in questions], _mean)


def criterion(questions: Sequence[Compared], name: str, cost: Cost, tau: Estimate | None) -> Criterion:
    """All measures of one scorer; ``tau``: its rank correlation with Step-Mask."""
    chosen = partial(chosen_score, name=name)
    bits = [
        bit
        for question in questions
        for choice in question.choices[name]
        if choice.bits
        for row in choice.bits
        for bit in row
    ]
    tops = [choice.order.count(0) > 1 for question in questions for choice in question.choices[name]]
    return Criterion(
        name=name,
        same=same_winner(questions, name, STEPMASK),
        again=same_winner(questions, name, name),
        correlation=tau,
        score=mean_of(questions, chosen),
        regret=mean_of(questions, lambda question: best_score(question) - chosen(question)),
        regret_at_most=mean_of(questions, lambda question: flattered_score(question) - chosen(question)),
        ties=sum(tops) / len(tops),
        ones=sum(bits) / len(bits) if bits else None,
        cost=cost,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _rounded(score: float) -> float:
    """Sums of equal scores may differ in their last digits."""
    return round(score, 9)
