"""Replay races over known bits: how many bits they ask for, and the fewest that certify the winner."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from workers.scorers.masking import exact_weights
from workers.scorers.race import Race

Bits = list[list[int]]
"""A question's candidates, each with a bit per mask level; empty for a candidate without steps."""


class Replay(NamedTuple):
    """Bits asked for, wasted, and in total; the fewest that certify the winner; whether the race found it."""

    asked: int
    wasted: int
    bits: int
    fewest: int
    right: bool


def replay(bits: Bits, lengths: Sequence[tuple[int, int]], n: int, width: int = 1) -> Replay:
    """Replay one race that asks for ``width`` bits at a time; they arrive in the order of asking.

    The fewest: all bits of the winner, and of each loser the missed bits with the highest weights until it is beaten.
    """
    weights = exact_weights(n, beta=0.5, normalization="reference")
    race = Race(weights, lengths, [[(c, level) for level in range(len(row))] for c, row in enumerate(bits)])
    asked: dict[tuple[int, int], None] = {}
    arrived = 0
    while wanted := race.wanted(width):
        for ask in wanted:
            if ask not in asked and (ask == wanted[0] or len(asked) - arrived < width):
                asked[ask] = None
        c, level = list(asked)[arrived]
        race.learn((c, level), bits[c][level])
        arrived += 1
    worth = [sum(w for w, bit in zip(weights, row, strict=False) if bit) for row in bits]
    best = min((-worth[c], lengths[c], c) for c in range(len(bits)))
    fewest = len(bits[best[2]])
    for c, row in enumerate(bits):
        bound = sum(weights) if row else 0
        losses = sorted((w for w, bit in zip(weights, row, strict=False) if not bit), reverse=True)
        while c != best[2] and (-bound, lengths[c], c) < best:
            bound -= losses.pop(0)
            fewest += 1
    most = [sum(w for w, bit in zip(weights, race.s_list(c), strict=False) if bit != 0) for c in range(len(bits))]
    found = min((-most[c], lengths[c], c) for c in range(len(bits)))
    right = found == best and race.s_list(found[2]) == tuple(bits[found[2]])
    return Replay(len(asked), len(asked) - len(race.needed()), sum(map(len, bits)), fewest, right)


def drawn(share: float, rng: random.Random, n: int, candidates: int) -> Bits:
    """Random bits as from traces of different quality: lighter masks succeed more often."""
    table = []
    for _ in range(candidates):
        quality = rng.gauss(share, 0.2)
        table.append([int(rng.random() < quality * (1.3 - 0.6 * level / (n - 1))) for level in range(n)])
    return table
