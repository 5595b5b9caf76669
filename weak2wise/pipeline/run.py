"""The pipeline: a feeder, and the stages with their queues, in one TaskGroup.

Resuming is not a special mode. The feeder puts each row into the queue of the first stage that has not done it
(``Account.next_step``), and skips finished rows.

A row that failed for a temporary reason is put aside (``salvage``). When all others are through, the feeder hands it in
again. A row whose calls wait in a batch is parked; it is handed in again as soon as the batch is back. Its record comes
from the ledger of the step before; for the first step the feeder reads the input again, for those rows alone.

Queues are closed in order. When nothing is left to feed, the feeder closes the first queue; a stage whose queue is
closed and empty closes the next. The feeder may feed any queue, because none is closed before it has finished.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from weak2wise.errors import ConfigError, Parked, RunStopped, single_errors
from weak2wise.ledger.account import Account
from weak2wise.ledger.outcomes import Done, Failed, RowStatus
from weak2wise.ledger.shards import DiskError
from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.llm.drain import PAID_ANSWERS_SECONDS, Drain
from weak2wise.pipeline.salvage import Salvage
from weak2wise.pipeline.stage import Stage
from weak2wise.worker import Record


class _End:
    """What each task that reads a closed queue gets from it."""


_END: Final = _End()


async def run(
    source: Callable[[], AsyncIterator[Record | Failed]],
    stages: Sequence[Stage[Any]],
    *,
    account: Account,
    drain: Drain,
    finished: Callable[[int], None],
    salvage_rounds: int,
    only: Container[int] | None = None,
    outstanding: Outstanding | None = None,
    leaves_aside: bool = False,
    fed: Callable[[], None] = lambda: None,
) -> None:
    """Take every row of the source through the stages.

    Args:
        source: reads the input from its start: records in order, or a ``Failed`` for a row that is not valid. Called
            once more for each salvage round.
        stages: in order; a row ends with the last one's outcome.
        account: where each row stands, in the ledgers of the input and of these stages by name.
        drain: awaited before the run stops, so that calls under way can still finish.
        finished: called with each row that needs no more work in this run.
        salvage_rounds: how often rows that failed for a temporary reason are tried again, after all the others.
        only: the rows to work on; the others stay as they are. ``None``: all rows.
        outstanding: the requests that are out in batches.
        leaves_aside: rows that failed for a temporary reason are left pending, for another run.
        fed: called when the whole source has been handed in: from then on the run has less and less to do.

    Raises:
        ExceptionGroup: holding the ``RunStopped``, ``DiskError`` or bug that stopped the run, or the ``ConfigError`` of
            an input that can no longer be read.
    """
    salvage = Salvage(salvage_rounds, outstanding, leaves=leaves_aside)
    async with asyncio.TaskGroup() as group:
        feeding = _feed(
            source, stages, account=account, drain=drain, finished=finished, only=only, salvage=salvage, fed=fed
        )
        group.create_task(feeding, name="feed")
        for stage, following in zip_longest(stages, stages[1:]):
            runner = _StageRunner(stage, following.inbox if following else None, drain, finished, salvage)
            group.create_task(runner.work(), name=stage.name)


async def _feed(
    source: Callable[[], AsyncIterator[Record | Failed]],
    stages: Sequence[Stage[Any]],
    *,
    account: Account,
    drain: Drain,
    finished: Callable[[int], None],
    only: Container[int] | None,
    salvage: Salvage,
    fed: Callable[[], None],
) -> None:
    feeder = _Feeder({stage.name: stage.inbox for stage in stages}, account, finished, salvage)
    while True:
        unread: set[int] = set()
        try:
            async for item in source():
                unread |= await feeder.hand_in(salvage.take_back())
                if isinstance(item, Failed):
                    if account.intake.status(item.row) is RowStatus.NONE:
                        await account.intake.append(item)
                elif only is None or item.row in only:
                    await feeder.place(item.row, item)
        except ConfigError:  # the input can no longer be read; what was sent is paid for
            await drain.drain(PAID_ANSWERS_SECONDS)
            raise
        fed()
        while not unread and (rows := await salvage.next_round()):
            unread = await feeder.hand_in(rows)
        if not unread:
            break
        only = unread
    await stages[0].inbox.put(_END)


@dataclass(frozen=True)
class _Feeder:
    """Puts rows into the queue of their next step."""

    queues: Mapping[str, asyncio.Queue[Any]]
    account: Account
    finished: Callable[[int], None]
    salvage: Salvage

    async def hand_in(self, rows: Collection[int]) -> set[int]:
        """Hand rows in again that were put aside; returns those whose record has to be read from the input."""
        return {row for row in sorted(rows) if not await self.place(row)}

    async def place(self, row: int, asked: Record | None = None) -> bool:
        """Hand one row in; whether its record is at hand. ``asked``: the input's, if that has just been read."""
        step = self.account.next_step(row)
        if step is None:
            self.finished(row)
            return True
        record = await self.account.record_for(row, step) or asked
        if record is None:
            return False
        self.salvage.begin()
        await self.queues[step].put(record)
        return True


@dataclass(frozen=True)
class _StageRunner:
    """Runs one stage: ``stage.concurrency`` tasks take records from its queue and pass the results on."""

    stage: Stage[Any]
    outbox: asyncio.Queue[Any] | None
    drain: Drain
    finished: Callable[[int], None]
    salvage: Salvage

    async def work(self) -> None:
        """Work until the stage's queue is closed and empty, then close the next one."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.stage.concurrency):
                group.create_task(self._take_records())
        if self.outbox:
            await self.outbox.put(_END)

    async def _take_records(self) -> None:
        inbox = self.stage.inbox
        while not isinstance(record := await inbox.get(), _End):
            await self._process(record)
        inbox.put_nowait(_END)  # for the next task; the queue was empty behind it

    async def _process(self, record: Record) -> None:
        try:
            outcome = await self.stage.process(record, final=self.salvage.last)
        except Parked:
            self.salvage.park(record.row)
            return
        except BaseException as error:
            # The group that a worker's own TaskGroup makes may hold several.
            if causes := [cause for cause in single_errors(error) if isinstance(cause, RunStopped)]:
                lost = any(isinstance(cause, DiskError) for cause in causes)  # no answer can be stored any more
                await self.drain.drain(0 if lost else PAID_ANSWERS_SECONDS)
            raise
        if isinstance(outcome, Done) and self.outbox:
            await self.outbox.put(outcome.record)
            return
        self.salvage.end(record.row, aside=outcome is None)
        if outcome is not None:
            self.finished(record.row)
