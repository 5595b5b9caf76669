"""Monitors that run beside the pipeline: the cost cap, the place of the work_dir, and the progress line."""

import asyncio

from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.drain import PAID_ANSWERS_SECONDS, Drain
from weak2wise.run.held_folder import HeldFolder
from weak2wise.telemetry.log import log
from weak2wise.watch.observer import Observed

PROGRESS_SECONDS = 10.0
MOVED_SECONDS = 2.0
"""Seconds between two looks whether the work_dir is still where it was."""


async def stop_when_exhausted(budget: CostBudget, drain: Drain) -> None:
    """Stop the run when no more calls can be sent under the cost cap, after the answers in flight have arrived."""
    await budget.exhausted.wait()
    cap = budget.max_usd
    log.warning("money.spent", spent_usd=round(budget.spent, 4), max_cost_usd=cap, waiting_for=drain.under_way)
    await drain.drain(PAID_ANSWERS_SECONDS)
    raise budget.stop()


async def stop_when_moved(folder: HeldFolder, drain: Drain) -> None:
    """Stop the run when its work_dir is moved or deleted, after the answers in flight have arrived.

    What is open is still written to, wherever it is; but what is created would be in another folder of the same name.
    """
    while True:
        await asyncio.sleep(MOVED_SECONDS)
        if not await asyncio.to_thread(folder.is_in_place):
            await drain.drain(PAID_ANSWERS_SECONDS)
            raise folder.moved()


async def progress(observer: Observed, outstanding: Outstanding) -> None:
    """Log the progress every ``PROGRESS_SECONDS``; ``status`` reads it."""
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        board = observer.board()
        facts: dict[str, object] = {"ended": board.ended, "rows": board.rows, "per_minute": board.per_minute}
        facts |= {} if board.seconds_left is None else {"seconds_left": board.seconds_left}
        facts |= {"bottleneck": board.bottleneck} if board.bottleneck else {}
        facts |= {"cost_usd": round(board.cost_usd, 4)} if board.cost_usd else {}
        facts |= {"in_batches": outstanding.count} if outstanding.count else {}
        facts |= {"dropped": board.dropped, "failed": board.failed}
        facts |= {stage.name: f"{stage.done}+{stage.busy}" for stage in board.stages}
        for endpoint in board.endpoints:
            facts |= {f"{endpoint.name}_per_minute": endpoint.per_minute} if endpoint.per_minute else {}
            facts |= {f"{endpoint.name}_faults": endpoint.faults} if endpoint.faults else {}
            if endpoint.held_until:
                facts[f"{endpoint.name}_held"] = f"{endpoint.held} until {endpoint.held_until.isoformat()}"
            facts |= {} if endpoint.down is None else {f"{endpoint.name}_down": round(endpoint.down)}
        for engine in board.engines:
            facts[f"{engine.name}_tokens_per_second"] = engine.tokens_per_second
        log.info("progress", **facts)
