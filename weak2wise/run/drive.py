"""Takes the rows of an opened run through its stages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import compress, count

from weak2wise.ledger.outcomes import Failed
from weak2wise.llm.drain import Drain
from weak2wise.pipeline import run
from weak2wise.run.held_folder import HeldFolder
from weak2wise.run.monitors import progress, stop_when_exhausted, stop_when_moved
from weak2wise.run.opened import Opened
from workers.records import Asked


async def drive(
    work: Opened,
    questions: Callable[[bytes], AsyncIterator[Asked | Failed]],
    drain: Drain,
    *,
    salvage_rounds: int,
    leaves_aside: bool = False,
    fed: Callable[[], None] = lambda: None,
) -> None:
    """Take all rows through the stages of a run, except those that are through already.

    Args:
        work: the run.
        questions: reads its rows from the first, without those for whose place in the table there is a 1.
        drain: the run's.
        salvage_rounds: as for ``pipeline.run``, as are the others.
        leaves_aside: see there.
        fed: see there.

    Raises:
        ExceptionGroup: as ``pipeline.run``.
    """
    over = await asyncio.to_thread(work.account.past, work.stages[-1].name)
    for row in compress(count(work.account.first), over):
        work.store.journal.release(row)
    await run(
        partial(questions, over),
        work.stages,
        account=work.account,
        drain=drain,
        finished=work.store.journal.release,
        only=work.only,
        salvage_rounds=salvage_rounds,
        outstanding=work.batches.outstanding,
        leaves_aside=leaves_aside,
        fed=fed,
    )


async def drive_watched(
    work: Opened,
    questions: Callable[[bytes], AsyncIterator[Asked | Failed]],
    folder: HeldFolder,
    drain: Drain,
    *,
    salvage_rounds: int,
) -> None:
    """Take all rows through the stages of a run that has a work_dir to itself, while its monitors run.

    Args:
        work: the run.
        questions: as for ``drive``, as are the others.
        folder: the work_dir, which may be moved meanwhile.
        drain: see there.
        salvage_rounds: see there.

    Raises:
        ExceptionGroup: as ``drive``, or a monitor stopped the run.
    """
    async with asyncio.TaskGroup() as group:
        monitors = [
            group.create_task(stop_when_exhausted(work.host.budget, drain)),
            group.create_task(work.observer.watch()),
            group.create_task(progress(work.observer, work.batches.outstanding)),
            group.create_task(stop_when_moved(folder, drain)),
            group.create_task(work.batches.run()),
        ]
        await drive(work, questions, drain, salvage_rounds=salvage_rounds)
        await work.batches.settle()
        for monitor in monitors:
            monitor.cancel()
