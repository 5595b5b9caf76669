"""Exact racing: the candidate that scoring every bit would choose, found with fewer bits.

A score is a sum of fixed weights over bits that are 0 or 1, so the bits seen so far bound it from above. The race
looks at the candidate with the highest bound (ties: the shorter normal reasoning, then the earlier candidate) and asks
for its heaviest unseen bit. Once the candidate on top has no unseen bit left, no other can overtake it, and it wins
every tie. Once its bound is less than a winner has to have, the race has none. Where more than the winner is asked
for, the next best are found in the same way; and the last one by its lower bound, which counts unseen bits as 0.

The order in which the race takes bits depends on the bits alone. Bits may be asked ahead, and arrive in any order:
those that the race did not need change neither the winner nor what is reported.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

A = TypeVar("A", bound=Hashable)


class Race(Generic[A]):
    """One question's race.

    Args:
        weights: what surviving each mask level is worth, exact, in any unit.
        lengths: each candidate's length; the shorter wins a tie.
        asks: for each candidate, what to ask for each of its bits; empty for a candidate that has none and
            scores 0. Equal asks share one bit.
        least: what a winner must be worth, in the unit of the weights.
        keep: how many of the best to find, in order.
        texts: the candidates' reasonings, if of equal ones only the best counts, and an empty one does not.
        worst: also find the one that ranks last.
    """

    def __init__(
        self,
        weights: Sequence[int],
        lengths: Sequence[float] | Sequence[tuple[int, int]],
        asks: Sequence[Sequence[A]],
        least: int = 0,
        *,
        keep: int = 1,
        texts: Sequence[str] | None = None,
        worst: bool = False,
    ) -> None:
        self._weights = weights
        self._lengths = lengths
        self._asks = asks
        self._least = least
        self._keep = keep
        self._texts: Sequence[Hashable] = texts if texts is not None else range(len(asks))
        self._worst = worst
        self._levels = sorted(range(len(weights)), key=lambda level: (-weights[level], -level))
        self._bits: dict[A, int] = {}
        self._bounds = [sum(weights) if ask else 0 for ask in asks]
        self._seen = [0 if ask else len(weights) for ask in asks]
        self._unseen = [sum(weights[level] for level in self._levels[seen:]) for seen in range(len(weights) + 1)]
        """What the bits that are not seen are worth together, by how many are seen."""

    def learn(self, ask: A, bit: int) -> None:
        """Record a bit that has arrived."""
        self._bits[ask] = bit

    def wanted(self, width: int = 1) -> list[A]:
        """The bits to have in flight now, at most ``width``: the one the race waits for, then those it may need next.

        To look ahead, unknown bits are guessed to be what most bits of this race were. If that leads to a winner before
        there are ``width`` bits, they are guessed the other way. Empty once all that is asked for is known, or can be
        no more.
        """
        while (c := self._next(self._bounds, self._seen)) is not None and self._ask(c, self._seen) in self._bits:
            self._walk(c, self._bounds, self._seen, self._bits[self._ask(c, self._seen)])
        wanted: dict[A, None] = {}
        guess = int(2 * sum(self._bits.values()) > len(self._bits))
        for bit in (guess, 1 - guess):
            bounds, seen = self._bounds.copy(), self._seen.copy()
            while len(wanted) < width and (c := self._next(bounds, seen)) is not None:
                ask = self._ask(c, seen)
                if ask not in self._bits:
                    wanted[ask] = None
                self._walk(c, bounds, seen, self._bits.get(ask, bit))
        return list(wanted)

    def may_need(self) -> set[A]:
        """The unknown bits that may yet be needed; all others cannot, whatever these turn out to be.

        A candidate is not asked any further once another one has more in known bits than it can still reach, or as many
        others as are to be found. Where the last one is to be found too, all may be needed. Its own bits count in the
        order in which the race takes them: a later one that is known already does not spare it an earlier one.
        """
        floor = self._floor()
        needed: set[A] = set()
        for c, row in enumerate(self._asks):
            bound = sum(self._weights)
            for level in self._levels if row else ():
                if floor is not None and (-bound, self._lengths[c], c) > floor:
                    break
                bit = self._bits.get(row[level])
                if bit is None:
                    needed.add(row[level])
                elif not bit:
                    bound -= self._weights[level]
        return needed

    def _floor(self) -> Any:
        """What a candidate must be able to reach, as it ranks; ``None`` if that is not known yet."""
        if self._worst:
            return None
        known = [
            sum(w for w, ask in zip(self._weights, row, strict=False) if self._bits.get(ask)) for row in self._asks
        ]
        found: set[Hashable] = set()
        for rank in sorted((-worth, self._lengths[c], c) for c, worth in enumerate(known)):
            if self._texts[rank[-1]] != "":
                found.add(self._texts[rank[-1]])
            if len(found) == self._keep:
                return rank
        return None

    def s_list(self, candidate: int) -> tuple[int | None, ...]:
        """A candidate's bits by mask level, ``None`` for those that the race did not need."""
        shown: list[int | None] = [None] * len(self._asks[candidate])
        for level in self._levels[: self._seen[candidate]] if shown else ():
            shown[level] = self._bits[self._asks[candidate][level]]
        return tuple(shown)

    def needed(self) -> set[A]:
        """The bits that the race needed."""
        return {
            row[level] for row, seen in zip(self._asks, self._seen, strict=True) if row for level in self._levels[:seen]
        }

    def _next(self, bounds: list[int], seen: list[int]) -> int | None:
        """The candidate whose next bit is needed; ``None`` if the race is over."""
        found: set[Hashable] = set()
        left = set(range(len(bounds)))
        while left and len(found) < self._keep:
            top = min(left, key=lambda c: (-bounds[c], self._lengths[c], c))
            if bounds[top] < self._least:
                break
            if seen[top] < len(self._levels):
                return top
            if self._texts[top] != "":
                found.add(self._texts[top])
            left.discard(top)
        if self._worst and found:
            last = max(range(len(bounds)), key=lambda c: (self._unseen[seen[c]] - bounds[c], self._lengths[c], c))
            if seen[last] < len(self._levels):
                return last
        return None

    def _ask(self, candidate: int, seen: list[int]) -> A:
        return self._asks[candidate][self._levels[seen[candidate]]]

    def _walk(self, candidate: int, bounds: list[int], seen: list[int], bit: int) -> None:
        if not bit:
            bounds[candidate] -= self._weights[self._levels[seen[candidate]]]
        seen[candidate] += 1
