"""Step-Mask arithmetic: how a trace is masked, and how the masks it survives add to its score (paper, section 3.3)."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from workers.records import Score
from workers.rules import RULES
from workers.trace_steps import states_answer

Normalization = Literal["reference", "unit"]
CONTINUED = " (to be continued...)"
HIDDEN_ANSWER = "## Final Answer" + CONTINUED


def mask_step(step: str, level: int, n: int, rules: int = RULES) -> str:
    """One step at mask level ``level`` of ``n``: its last ``ceil(level / n * len)`` characters are cut off.

    Level 0 leaves it whole. The step that states the answer is hidden at every level. The product is taken in
    floating point, as the reference does.
    """
    if states_answer(step, rules):
        return HIDDEN_ANSWER
    if level == 0:
        return step
    cut = math.ceil((level / n) * len(step))
    return step[: max(0, len(step) - cut)] + CONTINUED


def hint(steps: Sequence[str], level: int, n: int, rules: int = RULES) -> str:
    """The whole trace at one mask level, as the weak LLM sees it."""
    return "\n\n".join(mask_step(step, level, n, rules) for step in steps)


def exact_weights(n: int, *, beta: float, normalization: Normalization) -> tuple[int, ...]:
    """What surviving each of ``n`` mask levels adds to a score, as integers over one common denominator.

    Sums of these compare exactly, where floating point may break a tie.
    """
    shares = exact_shares(n, beta=beta, normalization=normalization)
    common = _common(shares)
    return tuple(int(share * common) for share in shares)


def least_worth(score: float, n: int, *, beta: float, normalization: Normalization) -> int:
    """The least sum of ``exact_weights`` that is a score of at least this, which counts as the decimal it is."""
    return math.ceil(Fraction(str(score)) * _common(exact_shares(n, beta=beta, normalization=normalization)))


def exact_shares(n: int, *, beta: float, normalization: Normalization) -> list[Fraction]:
    """What surviving each of ``n`` mask levels adds to a score. ``beta`` counts as the decimal it is written as."""
    share = Fraction(str(beta))
    z = 1 if normalization == "unit" or n == 1 else n - 1
    heavy = 0 if normalization == "reference" and n == 1 else 1
    exponents = [n - 1, *(n - level for level in range(1, n))]
    return [share / n + (1 - share) * heavy * Fraction(1, 2**exponent) / z for exponent in exponents]


def _common(shares: Sequence[Fraction]) -> int:
    return math.lcm(*(share.denominator for share in shares))


def score(bits: Sequence[int | None], *, beta: float, normalization: Normalization) -> Score:
    """Score a trace by the mask levels it survives; ``bits[i]`` is 1 if level i did. No bits (no steps): 0.

    A bit that is ``None`` was not needed: it counts as 1, and the score is an upper bound. ``reference`` divides the
    exponential part by n - 1, as the official code does; ``unit`` does not.
    """
    if not bits:
        return Score(score=0.0, s_list=(), savg=0.0, sew=0.0)
    s_list = tuple(bits)
    savg, sew = averages([1 if bit is None else bit for bit in bits], normalization)
    return Score(score=beta * savg + (1 - beta) * sew, s_list=s_list, savg=savg, sew=sew, is_bound=None in s_list)


def averages(successes: Sequence[float], normalization: Normalization) -> tuple[float, float]:
    """S_avg and S_ew of the success at each mask level, a bit or a probability."""
    n = len(successes)
    weighted = sum(successes[i] * 2.0 ** -(n - i) for i in range(1, n)) + successes[0] * 2.0 ** -(n - 1)
    z = 1 if normalization == "unit" else n - 1
    return sum(successes) / n, weighted / z if z else 0.0
