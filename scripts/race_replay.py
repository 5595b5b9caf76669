"""Replay races over known bits: how many bits they ask for, and the fewest that certify the winner.

By itself it prints what is saved by giving up attempts that the race cannot need, and by asking for as few votes as are
enough, before and after:

    python -m scripts.race_replay
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from workers.scorers.masking import exact_weights
from workers.scorers.race import Race
from workers.scorers.votes import certain, fewest

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


class Played(NamedTuple):
    """Tokens decoded until a race was over, when that was, and each candidate's bits as the race reports them."""

    decoded: float
    clock: float
    shown: list[tuple[int | None, ...]]


def play(
    bits: Bits, lengths: Sequence[tuple[int, int]], n: int, width: int, tokens: list[list[float]], *, give_up: bool
) -> Played:
    """Replay one race with up to ``width`` attempts in flight, each of which takes as long as it has tokens.

    What is in flight when the race is over is given up. With ``give_up`` also what it cannot need, as soon as that is
    proved; its place goes to another attempt.
    """
    weights = exact_weights(n, beta=0.5, normalization="reference")
    race = Race(weights, lengths, [[(c, level) for level in range(len(row))] for c, row in enumerate(bits)])
    ends: dict[tuple[int, int], float] = {}
    asked: set[tuple[int, int]] = set()
    clock = decoded = 0.0

    def stop(ask: tuple[int, int]) -> float:
        return tokens[ask[0]][ask[1]] - (ends.pop(ask) - clock)

    while wanted := race.wanted(width):
        for ask in wanted:
            if ask not in asked and (ask == wanted[0] or len(ends) < width):
                asked.add(ask)
                ends[ask] = clock + tokens[ask[0]][ask[1]]
        first = min(ends, key=lambda ask: (ends[ask], ask))
        clock = ends[first]
        decoded += stop(first)
        race.learn(first, bits[first[0]][first[1]])
        if give_up:
            decoded += sum(map(stop, ends.keys() - race.may_need()))
    decoded += sum(map(stop, list(ends)))
    return Played(decoded, clock, [race.s_list(c) for c in range(len(bits))])


def poll(finals: Sequence[str | None], tokens: Sequence[float]) -> tuple[float, float, float]:
    """Tokens decoded for the votes of one bit: all of them; all at once, but given up once it is certain; as needed."""
    votes = len(finals)
    known: dict[int, str | None] = {}
    given_up = float(sum(tokens))
    for vote in sorted(range(votes), key=lambda vote: tokens[vote]):
        known[vote] = finals[vote]
        if certain(known, votes) is not None:
            given_up = sum(min(each, tokens[vote]) for each in tokens)
            break
    known, asked = {}, 0
    while certain(known, votes) is None:
        more = fewest(known, asked, votes)
        known |= {vote: finals[vote] for vote in range(asked, asked + more)}
        asked += more
    return sum(tokens), given_up, sum(tokens[:asked])


def attempt_tokens(rng: random.Random) -> float:
    """How long an attempt is: 90 tokens in the middle, one in ten over 190, none over 1,024."""
    return min(1024.0, rng.lognormvariate(4.5, 0.6))


def print_given_up(console: Console, races: int = 500, seed: int = 0) -> None:
    """Tokens of races before and after, and whether they report the same."""
    rng = random.Random(seed)
    table = Table("ones", "at once", "tokens a race, before", "after", "saved", "on the clock", "same bits reported")
    for share in (0.15, 0.4, 0.6, 0.85):
        drawn_bits = [drawn(share, rng, 6, 6) for _ in range(races)]
        lengths = [[(0, rng.randrange(50, 400)) for _ in range(6)] for _ in range(races)]
        tokens = [[[attempt_tokens(rng) for _ in range(6)] for _ in range(6)] for _ in range(races)]
        for width in (4, 8, 16):
            rows = list(zip(drawn_bits, lengths, tokens, strict=True))
            before, after = (
                [play(bits, words, 6, width, long, give_up=give_up) for bits, words, long in rows]
                for give_up in (False, True)
            )
            spent = [sum(played.decoded for played in each) / races for each in (before, after)]
            clock = [sum(played.clock for played in each) for each in (before, after)]
            table.add_row(
                f"{share:.0%}" if width == 4 else "",
                f"{width}",
                f"{spent[0]:,.0f}",
                f"{spent[1]:,.0f}",
                f"{1 - spent[1] / spent[0]:.1%}",
                f"{clock[1] / clock[0]:.3f}",
                f"{sum(a.shown == b.shown for a, b in zip(before, after, strict=True))} of {races}",
            )
    console.print(table)


def print_votes(console: Console, bits: int = 5000, seed: int = 0) -> None:
    """Tokens for the votes of one bit before and after, by how often the weak LLM says the right answer."""
    rng = random.Random(seed)
    table = Table("votes", "right", "given up once certain, saved", "asked as needed, saved")
    for votes in (2, 3, 5):
        for share in (0.15, 0.4, 0.6, 0.85):
            total = [0.0, 0.0, 0.0]
            for _ in range(bits):
                finals = [_said(share, rng) for _ in range(votes)]
                spent = poll(finals, [attempt_tokens(rng) for _ in range(votes)])
                total = [a + b for a, b in zip(total, spent, strict=True)]
            saved = [f"{1 - each / total[0]:.0%}" for each in total[1:]]
            table.add_row(f"{votes}" if share == 0.15 else "", f"{share:.0%}", *saved)
    console.print(table)


def _said(share: float, rng: random.Random) -> str | None:
    """A final answer: the right one, or six in ten times one of three mistakes, three in ten anything, else none."""
    if rng.random() < share:
        return "right"
    kind = rng.random()
    return f"mistake {rng.randrange(3)}" if kind < 0.6 else f"other {rng.random()}" if kind < 0.9 else None


if __name__ == "__main__":
    terminal = Console(width=110)
    print_given_up(terminal)
    print_votes(terminal)
