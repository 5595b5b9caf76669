"""Histogram bins for one or more series of numbers; all series have the same bins."""

import math
from collections.abc import Sequence
from typing import NamedTuple

BINS = 20


class Edge(NamedTuple):
    """An edge of a bin: where it is, and how the axis names it; some are not named."""

    at: float
    label: str


def even(series: Sequence[Sequence[float]]) -> tuple[list[list[int]], list[Edge]]:
    """Bins of equal width, from 0 (or the tenth below the smallest, if negative) to the tenth above the largest.

    Returns the counts of each series, and the bins' edges.
    """
    top = max(0.1, math.ceil(max((max(numbers, default=0) for numbers in series), default=0) * 10 - 1e-9) / 10)
    low = min(0.0, math.floor(min((min(numbers, default=0) for numbers in series), default=0) * 10 + 1e-9) / 10)
    counts = [[0] * BINS for _ in series]
    for numbers, row in zip(series, counts, strict=True):
        for number in numbers:
            row[min(BINS - 1, max(0, int((number - low) / (top - low) * BINS)))] += 1
    places = [low + (top - low) * at / BINS for at in range(BINS + 1)]
    return counts, [Edge(round(place, 9), f"{place:.2f}" if at % 5 == 0 else "") for at, place in enumerate(places)]


def doubling(series: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[Edge]]:
    """Bins whose width doubles every second bin. Returns counts of each series, and the bins' edges."""
    low = int(2 * math.log2(max(1, min(min(numbers, default=1) for numbers in series))))
    high = int(2 * math.log2(max(1, *(max(numbers, default=1) for numbers in series)))) + 1
    counts = [[0] * (high - low) for _ in series]
    for numbers, row in zip(series, counts, strict=True):
        for number in numbers:
            row[int(2 * math.log2(max(1, number))) - low] += 1
    every = 2 * max(1, math.ceil((high - low) / 12))
    places = {at: 2 ** (at / 2) for at in range(low, high + 1)}
    return counts, [
        Edge(round(place, 1), short(place) if (at - low) % every == 0 else "") for at, place in places.items()
    ]


def short(number: float) -> str:
    """A number in a few characters, such as 12k."""
    return f"{number / 1e6:.0f}M" if number >= 1e6 else f"{number / 1e3:.0f}k" if number >= 1e3 else f"{number:.0f}"
