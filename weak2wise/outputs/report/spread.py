"""Numbers put into the bins of a histogram, several lots into the same ones."""

import math
from collections.abc import Sequence

BINS = 20


def even(lots: Sequence[Sequence[float]]) -> tuple[list[list[int]], list[str]]:
    """Bins of one width from 0, or the tenth below the smallest, to the tenth above the largest.

    Returns counts by lot, and labels for the edges.
    """
    top = max(0.1, math.ceil(max((max(lot, default=0) for lot in lots), default=0) * 10 - 1e-9) / 10)
    low = min(0.0, math.floor(min((min(lot, default=0) for lot in lots), default=0) * 10 + 1e-9) / 10)
    counts = [[0] * BINS for _ in lots]
    for lot, row in zip(lots, counts, strict=True):
        for number in lot:
            row[min(BINS - 1, max(0, int((number - low) / (top - low) * BINS)))] += 1
    return counts, [f"{low + (top - low) * at / BINS:.2f}" if at % 5 == 0 else "" for at in range(BINS + 1)]


def doubling(lots: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[str]]:
    """Bins that double in width every second one; returns counts by lot, and labels for the edges."""
    low = int(2 * math.log2(max(1, min(min(lot, default=1) for lot in lots))))
    high = int(2 * math.log2(max(1, *(max(lot, default=1) for lot in lots)))) + 1
    counts = [[0] * (high - low) for _ in lots]
    for lot, row in zip(lots, counts, strict=True):
        for number in lot:
            row[int(2 * math.log2(max(1, number))) - low] += 1
    every = 2 * max(1, math.ceil((high - low) / 12))
    return counts, [short(2 ** (at / 2)) if (at - low) % every == 0 else "" for at in range(low, high + 1)]


def short(number: float) -> str:
    """A number in a few characters."""
    return f"{number / 1e6:.0f}M" if number >= 1e6 else f"{number / 1e3:.0f}k" if number >= 1e3 else f"{number:.0f}"
