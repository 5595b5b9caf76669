"""Rows put aside after a temporary fault, to be tried again once all the others are through; and parked rows.

A row is parked while a batch that holds its calls is out. Only row numbers are kept in memory, and where the answers
are on disk. The records are read from the ledgers again, as after a restart, and the answers from the journal.
"""

import asyncio

from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.telemetry.log import log


class Salvage:
    """Counts the rows under way and keeps those put aside; ``rounds`` may follow the first one.

    ``outstanding`` says which rows wait for a batch. ``leaves``: rows put aside are left for another run.
    """

    def __init__(self, rounds: int, outstanding: Outstanding | None = None, *, leaves: bool = False) -> None:
        self._rounds_left = rounds
        self._leaves = leaves
        self._under_way = 0
        self._aside: set[int] = set()
        self._parked: set[int] = set()
        self._back: set[int] = set()
        self._changed = asyncio.Event()
        self._outstanding = outstanding or Outstanding()
        self._outstanding.back = self._came_back

    @property
    def last(self) -> bool:
        """Whether there is no round after this one, so that a fault is final."""
        return self._rounds_left == 0 and not self._leaves

    def begin(self) -> None:
        """Note that a row is under way."""
        self._under_way += 1

    def end(self, row: int, *, aside: bool) -> None:
        """Note that a row is no longer under way; ``aside``: try it again in the next round."""
        if aside:
            self._aside.add(row)
        self._leave()

    def park(self, row: int) -> None:
        """Note that a row is no longer under way, but waits for a batch; perhaps it has come back meanwhile."""
        if self._outstanding.has_row(row):
            self._parked.add(row)
        else:
            self._back.add(row)
        self._leave()

    def _leave(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._changed.set()

    def _came_back(self, row: int) -> None:
        if row in self._parked:
            self._parked.discard(row)
            self._back.add(row)
            self._changed.set()

    def take_back(self) -> set[int]:
        """The parked rows that can go on."""
        rows, self._back = self._back, set()
        return rows

    async def next_round(self) -> set[int]:
        """Wait until parked rows can go on, or nothing is under way, and return the rows to try again.

        Empty if no round is needed.
        """
        while True:
            if rows := self.take_back():
                return rows
            if not self._under_way:
                if not self._parked:
                    break
                self._outstanding.flush()
            self._changed.clear()
            await self._changed.wait()
        if self._leaves:
            return set()
        rows, self._aside = self._aside, set()
        self._rounds_left -= bool(rows)
        if rows:
            log.info("salvage.round", rows=len(rows))
        return rows
