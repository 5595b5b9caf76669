"""Where each row of the input stands: which step it needs next, how it ended, and totals that balance.

These are two questions. The *next step* of a row is the first step that has not done it: its work continues there. How
a row *ended* is in the ledger of the last step that has an outcome for it. The two differ only after a power cut: each
ledger loses its own last lines, so a row may have lost an early outcome and kept a later one.
"""

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise, zip_longest
from typing import Any, TypeVar

from msgspec import Struct

from weak2wise.ledger.outcomes import Done, Dropped, Ending, Failed, Ledger, RowStatus

E = TypeVar("E", bound=Dropped | Failed)
_STATUS: dict[type[Any], RowStatus] = {Dropped: RowStatus.DROPPED, Failed: RowStatus.FAILED}

INPUT = "input"
"""The ledger of the input, and the stage of its failures: lines that cannot be read."""


class Totals(Struct, frozen=True, kw_only=True):
    """Where every input row stands: ``rows == emitted + sum(dropped) + sum(failed) + unfinished``.

    ``dropped`` counts by reason, ``failed`` by ``stage/kind``. ``emitted`` counts rows that passed the last
    step of the run; ``unfinished`` rows are left for a later run.
    """

    rows: int
    emitted: int
    dropped: dict[str, int]
    failed: dict[str, int]
    unfinished: int

    @property
    def unreadable(self) -> int:
        """Lines of the input that cannot be read; they are among ``failed``."""
        return sum(count for where, count in self.failed.items() if where.startswith(f"{INPUT}/"))

    @classmethod
    def sum(cls, parts: "Iterable[Totals]") -> "Totals":
        """The totals of several parts together."""
        rows = emitted = unfinished = 0
        dropped: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for part in parts:
            rows, emitted, unfinished = rows + part.rows, emitted + part.emitted, unfinished + part.unfinished
            dropped.update(part.dropped)
            failed.update(part.failed)
        return cls(
            rows=rows,
            emitted=emitted,
            dropped=dict(dropped),
            failed=dict(sorted(failed.items())),
            unfinished=unfinished,
        )


class Account:
    """What all ledgers together say about each row: the input's ledger and, by name and in order, the steps' ledgers.

    It has no state of its own, so it is always as current as the ledgers. A look-up reads at most one array element per
    step.
    """

    def __init__(self, intake: Ledger[Any], steps: Mapping[str, Ledger[Any]]) -> None:
        self.intake = intake
        self.steps = dict(steps)
        self._last = [*self.steps.values()][-1]
        self._latest_first = [*reversed(self.steps.values()), intake]
        self._position = {step: position for position, step in enumerate(self.steps)}
        self._step_before = {step: before for before, step in pairwise(self.steps)}

    def up_to(self, step: str) -> "Account":
        """The account of a run that ends with this step."""
        return Account(self.intake, {name: self.steps[name] for name in list(self.steps)[: self._position[step] + 1]})

    def next_step(self, row: int) -> str | None:
        """The first step that has not done the row; ``None`` if no work is left: it is through or was dropped."""
        for step, ledger in self.steps.items():
            if (status := ledger.status(row)) is not RowStatus.DONE:
                return None if status is RowStatus.DROPPED else step
        return None

    def is_pending(self, row: int, last_step: str) -> bool:
        """Whether a row still needs a step up to and including ``last_step``."""
        step = self.next_step(row)
        return step is not None and self._position[step] <= self._position[last_step]

    async def record_for(self, row: int, step: str) -> Any | None:
        """The record that a row enters a step with, from disk; ``None`` for the first step: its record is the input's.

        The step before must have done the row.
        """
        if step not in self._step_before:
            return None
        outcome = await self.steps[self._step_before[step]].fetch(row)
        assert isinstance(outcome, Done)
        return outcome.record

    def pending(self, rows: Collection[int] | None = None) -> list[int]:
        """How many of these rows need each step next.

        Without ``rows``, all rows that have begun, from tallies alone. The first step's number is then negative: minus
        the rows that it has done or dropped. Add the number of readable input rows to correct it.
        """
        if rows is not None:
            found = Counter(self.next_step(row) for row in rows)
            return [found[step] for step in self.steps]
        tallies = [ledger.tally for ledger in self.steps.values()]
        reached = [0, *(tally[RowStatus.DONE] for tally in tallies)]
        left = [tally[RowStatus.DONE] + tally[RowStatus.DROPPED] for tally in tallies]
        return [before - after for before, after in zip(reached, left, strict=False)]

    @property
    def first(self) -> int:
        """The row with which everything by row begins (``Ledger``)."""
        return self.intake.first

    def past(self, step: str) -> bytes:
        """By row, 1 if it needs this step no more, nor one before it; rows that have not begun may be missing."""
        ledgers = list(self.steps.values())[: self._position[step] + 1]

        @cache
        def is_past(numbers: tuple[int, ...]) -> bool:
            for ledger, number in zip(ledgers, numbers, strict=True):
                if (status := ledger.endings[number].status) is not RowStatus.DONE:
                    return status is RowStatus.DROPPED
            return True

        return bytes(map(is_past, zip_longest(*(ledger.numbers for ledger in ledgers), fillvalue=0)))

    @property
    def emitted(self) -> int:
        """Rows that the last step has done."""
        return self._last.tally[RowStatus.DONE]

    @property
    def unreadable(self) -> int:
        """Lines of the input that cannot be read."""
        return self.intake.tally[RowStatus.FAILED]

    def tally(self, status: RowStatus) -> int:
        """How many rows have this status in the steps' ledgers, added up over the steps."""
        return sum(ledger.tally[status] for ledger in self.steps.values())

    def ends(self) -> Iterator[Dropped | Failed]:
        """The outcome of every row that was dropped or failed, in input order. Blocks for one small read per row."""
        return self._ended((Dropped, Failed))

    def drops(self) -> Iterator[Dropped]:
        """Those that were dropped."""
        return self._ended((Dropped,))

    def failures(self) -> Iterator[Failed]:
        """Those that failed."""
        return self._ended((Failed,))

    def _ended(self, kinds: tuple[type[E], ...]) -> Iterator[E]:
        statuses = [_STATUS[kind] for kind in kinds]
        for row, ending in enumerate(self._endings(), self.first):
            if ending and ending[1].status in statuses:
                outcome = ending[0].read(row)
                assert isinstance(outcome, kinds)
                yield outcome

    def failed_rows(self, kinds: Container[str]) -> tuple[set[int], Counter[str]]:
        """The rows that failed in a step with one of these kinds, and how many failed in steps by kind. Blocks.

        The rows include those whose new try was interrupted: they have left the step where they failed, but are not
        through.
        """
        rows: set[int] = set()
        found: Counter[str] = Counter()
        for row, ending in enumerate(self._endings(), self.first):
            if ending and ending[1].status is RowStatus.FAILED and ending[0] is not self.intake:
                kind = ending[1].why
                found[kind] += 1
                if kind in kinds:
                    rows.add(row)
        for ledger in self.steps.values():
            rows |= {row for row, kind in ledger.ever_failed().items() if kind in kinds and self._is_between_steps(row)}
        return rows, found

    def totals(self, rows: int) -> Totals:
        """Count where ``rows`` input rows stand. Looks at every row."""
        dropped: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for numbers, count in Counter(self._numbers()).items():
            if ending := self._ending(numbers):
                ledger, (status, why) = ending
                if status is RowStatus.DROPPED:
                    dropped[why] += count
                elif status is RowStatus.FAILED:
                    failed[f"{ledger.name}/{why}"] += count
        return Totals(
            rows=rows,
            emitted=self.emitted,
            dropped=dict(dropped),
            failed=dict(sorted(failed.items())),
            unfinished=rows - self.emitted - dropped.total() - failed.total(),
        )

    def begun(self) -> int:
        """How many rows have any outcome. Looks at every row."""
        return sum(map(any, self._numbers()))

    def _numbers(self) -> Iterator[tuple[int, ...]]:
        """By row, the numbers of its endings, the last step's first and the input's last."""
        return zip_longest(*(ledger.numbers for ledger in self._latest_first), fillvalue=0)

    def _ending(self, numbers: tuple[int, ...]) -> tuple[Ledger[Any], Ending] | None:
        """How a row with these numbers ended: the ledger of the last step with an outcome for it, and its ending."""
        for ledger, number in zip(self._latest_first, numbers, strict=True):
            if number:
                return ledger, ledger.endings[number]
        return None

    def _endings(self) -> Iterator[tuple[Ledger[Any], Ending] | None]:
        """How each row ended."""
        return map(cache(self._ending), self._numbers())

    def _latest(self, row: int) -> Ledger[Any] | None:
        """The ledger of the last step that has an outcome for the row."""
        return next((ledger for ledger in self._latest_first if ledger.status(row) is not RowStatus.NONE), None)

    def _is_between_steps(self, row: int) -> bool:
        """Whether a step has done the row and no later step has an outcome for it."""
        latest = self._latest(row)
        return latest is not None and latest is not self._last and latest.status(row) is RowStatus.DONE
