"""Means and differences with their uncertainty, where several values belong to one question.

Samples of one question are alike, so a question is a cluster. For G clusters the standard error is that of the sandwich
estimate with the factor G/(G-1) (Miller, arXiv 2411.00640), and quantiles are of Student's t with G-1 degrees of
freedom. Everywhere `clusters` is one sequence of values for each question; none of them is empty.
"""

import math
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from statistics import NormalDist
from typing import Any, TypeVar

import msgspec

LEVEL = 0.95

_Cluster = TypeVar("_Cluster")
_NORMAL = NormalDist()
_LARGE = 10_000
"""Degrees of freedom from which on quantiles are the same to four digits, and their sums would only take long."""
_HALVINGS = 60  # of an interval of numbers about 1: as close as a float can tell


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number and its confidence interval.

    Attributes:
        value: the estimate.
        low: lower end of the interval.
        high: upper end of the interval.
        error: standard error, by clusters.
        clusters: how many clusters there were.
    """

    value: float
    low: float
    high: float
    error: float
    clusters: int


class Difference(Estimate, frozen=True, kw_only=True):
    """A difference and how surprising it would be if there were none.

    Attributes:
        p: two-sided p-value of "no difference".
    """

    p: float


class Singles(Sequence[Sequence[float]]):
    """Every value as a cluster of its own. The clusters are made when they are looked at: a million take no memory."""

    def __init__(self, values: "array[float]") -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, at: Any) -> Any:
        return (self._values[at],)

    def __iter__(self) -> Iterator[Sequence[float]]:
        return zip(self._values, strict=True)


def mean(clusters: Sequence[Sequence[float]], *, level: float = LEVEL) -> Estimate:
    """Mean of all values, with Student's t interval by clusters.

    Raises:
        ValueError: fewer than two clusters: their spread is unknown.
    """
    value, error = _mean_and_error(clusters)
    margin = t_quantile((1 + level) / 2, len(clusters) - 1) * error
    return Estimate(value=value, low=value - margin, high=value + margin, error=error, clusters=len(clusters))


def proportion(clusters: Sequence[Sequence[float]], *, level: float = LEVEL) -> Estimate:
    """Mean of values between 0 and 1, with Wilson's interval for as many independent values as the clusters are worth.

    Unlike Student's interval it stays between 0 and 1, and does not shrink to a point where all values are equal. The
    effective number of values is p(1-p) G/(G-1) / error², at most the number of values; where all are 0 or all are 1 it
    is the number of clusters.

    Raises:
        ValueError: no cluster at all.
    """
    if not clusters:
        raise ValueError("a proportion needs at least one cluster")
    count = sum(map(len, clusters))
    value, error = _mean_and_error(clusters) if len(clusters) > 1 else (sum(clusters[0]) / count, 0.0)
    variance = value * (1 - value)
    alone = len(clusters) == 1 or variance <= 0
    effective = float(len(clusters) if alone else count)
    if not alone and error:  # error² has the factor G/(G-1), which single independent values must not pay for
        effective = min(effective, variance / error**2 * len(clusters) / (len(clusters) - 1))
    squared = t_quantile((1 + level) / 2, max(len(clusters) - 1, 1)) ** 2 / effective
    middle = (value + squared / 2) / (1 + squared)
    margin = math.sqrt(squared * variance + squared**2 / 4) / (1 + squared)
    low, high = min(max(0.0, middle - margin), value), max(min(1.0, middle + margin), value)
    return Estimate(value=value, low=low, high=high, error=error, clusters=len(clusters))


def paired_difference(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], *, level: float = LEVEL
) -> Difference:
    """Mean of `after` minus mean of `before`, question by question, with a paired t interval and test.

    Each question counts the same, however many values it has on either side. Where all questions differ by the same, so
    that no spread is seen, the p-value is the smallest that flipping their signs can give, 2^(1-G).

    Raises:
        ValueError: fewer than two questions, or not the same number on both sides.
    """
    pairs = zip(before, after, strict=True)
    found = mean(Singles(array("d", (sum(b) / len(b) - sum(a) / len(a) for a, b in pairs))), level=level)
    without_spread = 2.0 ** (1 - found.clusters) if found.value else 1.0
    p = t_p_value(found.value / found.error, found.clusters - 1) if found.error else without_spread
    return Difference(**msgspec.structs.asdict(found), p=p)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for how many there are (Holm 1979), in the order given.

    The chance of any false finding among them stays at the level that they are held against.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def cluster_bootstrap(
    clusters: Sequence[_Cluster],
    statistic: Callable[[Sequence[_Cluster]], float],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> Estimate:
    """Any statistic of clusters, with a percentile interval from drawing whole clusters again with replacement.

    Args:
        clusters: what belongs to each question, in any shape that `statistic` reads.
        statistic: of a sequence of clusters; NaN where it is not defined, and then that resample is left out.
        resamples: how often all clusters are drawn.
        seed: the same seed gives the same interval.
        level: share of resamples inside the interval.

    Raises:
        ValueError: fewer than two clusters, or a statistic that is defined in fewer than half of the resamples.
    """
    if len(clusters) < 2:
        raise ValueError(f"{len(clusters)} clusters cannot be drawn again: their spread is unknown")
    draw = random.Random(seed)
    drawn = (statistic(draw.choices(clusters, k=len(clusters))) for _ in range(resamples))
    found = sorted(value for value in drawn if not math.isnan(value))
    if 2 * len(found) < resamples or len(found) < 2:
        raise ValueError(f"the statistic is defined in {len(found)} of {resamples} resamples only")
    middle = sum(found) / len(found)
    return Estimate(
        value=statistic(clusters),
        low=_percentile(found, (1 - level) / 2),
        high=_percentile(found, (1 + level) / 2),
        error=math.sqrt(sum((value - middle) ** 2 for value in found) / (len(found) - 1)),
        clusters=len(clusters),
    )


def difference_error(
    *, questions: int, samples: int, solve_rates: Sequence[float], effect_spread: float = 0.0
) -> float:
    """The standard error that a paired difference of pass@1 will have, before anything is measured.

    Both sides answer each question `samples` times, and solve it about as often as `solve_rates` say.

    Args:
        questions: how many will be asked.
        samples: answers to each question, on each side.
        solve_rates: how often questions like these are solved, between 0 and 1; from a pilot, or what one expects.
        effect_spread: standard deviation, between questions, of the true difference.
    """
    sampling = 2 * sum(rate * (1 - rate) for rate in solve_rates) / len(solve_rates) / samples
    return math.sqrt((effect_spread**2 + sampling) / questions)


def power(effect: float, error: float, clusters: int, *, level: float = LEVEL) -> float:
    """How likely a two-sided t test finds a true difference of `effect`, given the standard error of the difference.

    The non-central t distribution by the normal approximation of Abramowitz and Stegun, 26.7.10. To find a difference
    of the wrong sign does not count.
    """
    freedom = clusters - 1
    critical = t_quantile((1 + level) / 2, freedom)
    shift = abs(effect) / error - critical * (1 - 1 / (4 * freedom))
    return _NORMAL.cdf(shift / math.sqrt(1 + critical**2 / (2 * freedom)))


def minimum_detectable_effect(error: float, clusters: int, *, wanted: float = 0.8, level: float = LEVEL) -> float:
    """The smallest true difference that is found with probability `wanted`."""
    low, high = 0.0, error
    while power(high, error, clusters, level=level) < wanted:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, error, clusters, level=level) < wanted else (low, middle)
    return high


def t_p_value(t: float, freedom: int) -> float:
    """Two-sided p-value of Student's t with a whole number of degrees of freedom."""
    return max(0.0, 1 - _within(math.atan(abs(t) / math.sqrt(freedom)), freedom))


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The t that Student's distribution stays below with this probability, from one half up."""
    freedom = min(freedom, _LARGE)
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * probability - 1 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """P(|T| <= t) where t = sqrt(freedom) tan(angle): the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for even in range(2 + odd, freedom - 1, 2):
        term *= (even - 1) / even * cosine * cosine
        total += term
    inside = math.sin(angle) * total
    return (angle + inside) * 2 / math.pi if odd else inside


def _mean_and_error(clusters: Sequence[Sequence[float]]) -> tuple[float, float]:
    if len(clusters) < 2:
        raise ValueError(f"at least two clusters are needed to know their spread, not {len(clusters)}")
    count = sum(map(len, clusters))
    value = math.fsum(map(math.fsum, clusters)) / count
    squares = math.fsum((math.fsum(cluster) - len(cluster) * value) ** 2 for cluster in clusters)
    return value, math.sqrt(squares * len(clusters) / (len(clusters) - 1)) / count


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
