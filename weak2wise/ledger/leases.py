"""Which part is free, who works on which with which epoch, and which is over: a plan without files and without time.

A *lease* gives one part to one holder, with an epoch that no lease of the part has had. A part whose holder is lost
becomes free again, and its next lease has the next epoch. It becomes free only when it is certain that the lost holder
sends nothing any more; the caller of ``release`` sees to that.

Rows that failed for a temporary reason are tried again in *salvage rounds*: a part that has such rows is leased once
more when every part is through the round before.
"""

from bisect import insort
from collections import Counter
from collections.abc import Container, Mapping

from msgspec import Struct, structs

from weak2wise.ledger.account import INPUT, Totals

LEASE_SECONDS = 10.0
"""A holder that has not heard from the driver for so long sends nothing any more."""
LOSSES = 3
"""A part that has lost so many holders in one start is at fault itself."""


class Lease(Struct, frozen=True, kw_only=True):
    """One part, for one holder: its rows, and whether a temporary failure in it is final (the last salvage round)."""

    part: int
    epoch: int
    first: int
    rows: int
    round: int = 0
    final: bool = True


Tally = tuple[int, int, int]
"""Rows that a step has done, dropped and failed."""


class PartState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a part; a line of the record has all of it.

    Attributes:
        part: its number.
        epoch: that of the last lease; 0 before the first.
        holder: who has it; empty if nobody.
        rows: how many rows it had when it was last leased.
        steps: how many steps of the method it was taken through.
        totals: where its rows stand; ``None``: it has not been over since it was last leased.
        tallies: how many rows each step has done, dropped and failed.
    """

    part: int
    epoch: int = 0
    holder: str = ""
    rows: int = 0
    steps: int = 0
    totals: Totals | None = None
    tallies: tuple[Tally, ...] = ()

    def lacks(self, rows: int, steps: int) -> bool:
        """Whether it has work for a start of so many steps, now that it has so many rows."""
        if self.totals is None or self.rows < rows or self.steps < steps:
            return True
        return self.totals.unfinished > 0 or sum(self.totals.failed.values()) > self.totals.unreadable

    def may_hold(self, kinds: Container[str]) -> bool:
        """Whether rows may have failed in it with one of these kinds."""
        if self.totals is None or self.totals.unfinished:
            return self.epoch > 0
        found = [where.partition("/") for where in self.totals.failed]
        return any(stage != INPUT and kind in kinds for stage, _, kind in found)


class Leases:
    """The plan of one start.

    Args:
        parts: the rows of each part, by its number.
        states: what earlier starts have left of them, by number.
        steps: how many steps of the method this start takes.
        salvage_rounds: how often rows that failed for a temporary reason are tried again.
        retry: work only on parts that may have rows which failed with these kinds; ``None``: on all.
    """

    def __init__(
        self,
        parts: Mapping[int, range],
        states: Mapping[int, PartState],
        *,
        steps: int,
        salvage_rounds: int,
        retry: frozenset[str] | None = None,
    ) -> None:
        self._parts = parts
        self._steps = steps
        self._rounds = salvage_rounds
        self.states = {part: states.get(part) or PartState(part=part) for part in parts}
        """By part."""
        self.round = 0
        """The salvage round that parts are leased for now."""
        self.losses: Counter[int] = Counter()
        """How many holders each part has lost in this start."""
        self._leased: dict[int, Lease] = {}
        self._by: dict[str, set[int]] = {}
        self._aside: list[int] = []
        self._free: list[int] = []
        for part, state in self.states.items():
            wanted = state.lacks(len(parts[part]), steps) if retry is None else state.may_hold(retry)
            if state.holder:  # of an earlier start: it may live on
                self._take(self._lease(part, state.epoch), state.holder)
            elif wanted:
                self._free.append(part)

    @property
    def over(self) -> bool:
        """Whether no part is left to be worked on, and none is leased."""
        return self.left == 0

    @property
    def left(self) -> int:
        """How many parts are not over."""
        return len(self._free) + len(self._aside) + len(self._leased)

    def wanted(self) -> list[int]:
        """The parts that are not over, ascending."""
        return sorted({*self._free, *self._aside, *self._leased})

    def leased(self) -> dict[int, Lease]:
        """The leases that are out, by part."""
        return dict(self._leased)

    def claim(self, holder: str) -> Lease | None:
        """Lease a part to a holder; ``None`` if there is none for it now.

        Make ``states`` of the part durable before the holder learns of the lease: no epoch may be given twice. A part
        that has lost a holder is worked on alone, so that no other is suspected with it.
        """
        if not self._free and not self._leased and self._aside:
            self.round += 1
            self._free, self._aside = sorted(self._aside), []
        has = self._by.get(holder, set())
        if any(self.losses[part] for part in has):
            return None
        part = next((part for part in self._free if not (has and self.losses[part])), None)
        if part is None:
            return None
        self._free.remove(part)
        lease = self._lease(part, self.states[part].epoch + 1)
        self._take(lease, holder)
        self.states[part] = structs.replace(
            self.states[part], epoch=lease.epoch, holder=holder, rows=lease.rows, totals=None
        )
        return lease

    def finish(self, lease: Lease, totals: Totals, tallies: tuple[Tally, ...] = ()) -> bool:
        """A holder has done all that a lease asks for; ``False`` if the lease is not the part's any more."""
        if self._leased.get(lease.part) != lease:
            return False
        self._give_back(lease.part)
        self.states[lease.part] = PartState(
            part=lease.part, epoch=lease.epoch, rows=lease.rows, steps=self._steps, totals=totals, tallies=tallies
        )
        if totals.unfinished and not lease.final:
            self._aside.append(lease.part)
        return True

    def release(self, lease: Lease, *, lost: bool) -> bool:
        """A lease is over without its work being done: the part is free again. ``False`` as for ``finish``.

        ``lost``: its holder is gone; ``losses`` counts that.
        """
        if self._leased.get(lease.part) != lease:
            return False
        self._give_back(lease.part)
        self.states[lease.part] = structs.replace(self.states[lease.part], holder="")
        self.losses[lease.part] += lost
        insort(self._free, lease.part)
        return True

    def _lease(self, part: int, epoch: int) -> Lease:
        rows = self._parts[part]
        final = self.round >= self._rounds
        return Lease(part=part, epoch=epoch, first=rows.start, rows=len(rows), round=self.round, final=final)

    def _take(self, lease: Lease, holder: str) -> None:
        self._leased[lease.part] = lease
        self._by.setdefault(holder, set()).add(lease.part)

    def _give_back(self, part: int) -> None:
        del self._leased[part]
        for parts in self._by.values():
            parts.discard(part)
