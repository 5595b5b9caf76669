"""Rows put aside after a temporary fault, to be tried again once all the others are through.

Only their row numbers are kept in memory, and where their answers are on disk. Their records are read from the ledgers
again, as after a restart, and the answers that they have got come from the journal.
"""

import asyncio


class Salvage:
    """Counts the rows under way and keeps those put aside; ``rounds`` may follow the first one."""

    def __init__(self, rounds: int) -> None:
        self._rounds_left = rounds
        self._under_way = 0
        self._aside: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def last(self) -> bool:
        """Whether there is no round after this one, so that a fault is final."""
        return self._rounds_left == 0

    def begin(self) -> None:
        """Note that a row is under way."""
        self._under_way += 1
        self._idle.clear()

    def end(self, row: int, *, aside: bool) -> None:
        """Note that a row is no longer under way; ``aside``: try it again in the next round."""
        if aside:
            self._aside.add(row)
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()

    async def next_round(self) -> set[int]:
        """Wait until nothing is under way and return the rows to try again; empty if no round is needed."""
        await self._idle.wait()
        rows, self._aside = self._aside, set()
        self._rounds_left -= bool(rows)
        return rows
