"""The run itself: a feeder, the stages' lanes, and the queues between them, in one TaskGroup.

Resuming is no mode. The feeder looks up how far each row has come and puts it where its work goes on: a finished row
nowhere, any other at the first stage that has not done it (``Account.next_step``).

A row that failed for what may pass is put aside (``salvage``), and when all others are through, the feeder begins the
input again for those rows alone.

Closing runs down the line. When nothing is left to feed, the feeder closes the first queue; a stage whose queue is
closed and empty closes the next. The feeder may feed any queue, because none is closed before it has finished.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from weak2wise.errors import StopRun
from weak2wise.ledger.account import Account
from weak2wise.ledger.outcomes import Done, Failed, RowStatus
from weak2wise.ledger.shards import DiskError
from weak2wise.llm.gate import PAID_ANSWERS_SECONDS, Gate
from weak2wise.pipeline.salvage import Salvage
from weak2wise.pipeline.stage import Stage
from weak2wise.worker import Record

log = structlog.get_logger()


class _End:
    """What a closed queue yields, to each of its lanes."""


_END: Final = _End()
_Queue = asyncio.Queue["Record | _End"]


async def run(
    source: Callable[[], AsyncIterator[Record | Failed]],
    stages: Sequence[Stage[Any]],
    *,
    account: Account,
    gate: Gate,
    queue_size: int,
    finished: Callable[[int], None],
    only: Container[int] | None = None,
    salvage_rounds: int = 0,
) -> None:
    """Take every row of the source through the stages.

    Args:
        source: begins the input: records in order, or what is wrong with a row that is none. Once more for each round.
        stages: in order; the last one's outcomes end a row.
        account: where each row stands, in the ledgers of the input and of these stages by name.
        gate: shut before the run stops, so that calls under way may still arrive.
        queue_size: records waiting between two stages.
        finished: told each row that needs no more work in this run.
        only: the rows to work on, where the others are to stay as they are.
        salvage_rounds: how often rows are tried again, after all the others, that failed for what may pass.

    Raises:
        ExceptionGroup: holding the ``StopRun``, ``DiskError`` or bug that stopped the run.
    """
    queues: dict[str, _Queue] = {stage.name: asyncio.Queue(queue_size) for stage in stages}
    salvage = Salvage(salvage_rounds)
    async with asyncio.TaskGroup() as group:
        feeding = _feed(source, queues, account=account, finished=finished, only=only, salvage=salvage)
        group.create_task(feeding, name="feed")
        inboxes = list(queues.values())
        for stage, inbox, outbox in zip(stages, inboxes, [*inboxes[1:], None], strict=True):
            stage.waiting = inbox.qsize
            line = _Line(stage, inbox, outbox)
            group.create_task(_work(line, gate, finished, salvage), name=stage.name)


async def _feed(
    source: Callable[[], AsyncIterator[Record | Failed]],
    queues: dict[str, _Queue],
    *,
    account: Account,
    finished: Callable[[int], None],
    only: Container[int] | None,
    salvage: Salvage,
) -> None:
    while True:
        async for item in source():
            if isinstance(item, Failed):
                if account.intake.status(item.row) is RowStatus.NONE:
                    await account.intake.append(item)
            elif only is None or item.row in only:
                await _place(item, queues, account, finished, salvage)
        if not (rows := await salvage.next_round()):
            break
        log.info("salvage.round", rows=len(rows))
        only = rows
    await next(iter(queues.values())).put(_END)


async def _place(
    record: Record,
    queues: dict[str, _Queue],
    account: Account,
    finished: Callable[[int], None],
    salvage: Salvage,
) -> None:
    """Put a row where its work goes on."""
    step = account.next_step(record.row)
    if step is None:
        finished(record.row)
        return
    record = await account.record_for(record.row, step) or record
    salvage.begin()
    await queues[step].put(record)


@dataclass(frozen=True)
class _Line:
    """A stage between its queues."""

    stage: Stage[Any]
    inbox: _Queue
    outbox: _Queue | None


async def _work(line: _Line, gate: Gate, finished: Callable[[int], None], salvage: Salvage) -> None:
    async with asyncio.TaskGroup() as lanes:
        for _ in range(line.stage.lanes):
            lanes.create_task(_lane(line, gate, finished, salvage))
    if line.outbox:
        await line.outbox.put(_END)


async def _lane(line: _Line, gate: Gate, finished: Callable[[int], None], salvage: Salvage) -> None:
    while not isinstance(record := await line.inbox.get(), _End):
        try:
            outcome = await line.stage.process(record, final=salvage.last)
        except BaseException as error:
            if causes := _stops(error):
                unkept = any(isinstance(cause, DiskError) for cause in causes)  # nothing can be written down any more
                await gate.drain(0 if unkept else PAID_ANSWERS_SECONDS)
            raise
        if isinstance(outcome, Done) and line.outbox:
            await line.outbox.put(outcome.record)
            continue
        salvage.end(record.row, aside=outcome is None)
        if outcome is not None:
            finished(record.row)
    line.inbox.put_nowait(_END)  # for the next lane; the queue was empty behind it


def _stops(error: BaseException) -> list[StopRun]:
    """The ``StopRun`` behind an error, alone or in the group that a worker's own TaskGroup makes of it."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in _stops(inner)]
    return [error] if isinstance(error, StopRun) else []
