"""Rows put aside after a fault that may pass, to be tried again once all the others are through.

Only their numbers are kept, and where their answers stand: the records come from the ledgers again, as after a restart,
and what was answered of them comes from the journal.
"""

import asyncio


class Salvage:
    """Counts the rows under way and keeps those put aside, for so many ``rounds`` after the first."""

    def __init__(self, rounds: int) -> None:
        self._left = rounds
        self._under_way = 0
        self._aside: set[int] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def last(self) -> bool:
        """Whether there is no round after this one, so that a fault is final."""
        return self._left == 0

    def begin(self) -> None:
        """A row is under way."""
        self._under_way += 1
        self._quiet.clear()

    def end(self, row: int, *, aside: bool) -> None:
        """A row is under way no more."""
        if aside:
            self._aside.add(row)
        self._under_way -= 1
        if not self._under_way:
            self._quiet.set()

    async def next_round(self) -> set[int]:
        """Wait until nothing is under way; the rows to try again, none if there is no need for another round."""
        await self._quiet.wait()
        rows, self._aside = self._aside, set()
        self._left -= bool(rows)
        return rows
