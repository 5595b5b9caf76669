"""What goes on beside a run: a progress line now and then, and an eye on the money."""

import asyncio

import structlog

from weak2wise.errors import StopRun
from weak2wise.llm.gate import PAID_ANSWERS_SECONDS, Gate
from weak2wise.llm.purse import Purse
from weak2wise.watch.board import Observer

PROGRESS_SECONDS = 10.0

log = structlog.get_logger()


async def stop_when_empty(purse: Purse, gate: Gate) -> None:
    """Stop the run when there is no money for a call, once the answers that are paid for have arrived."""
    await purse.wanted.wait()
    log.warning("money.spent", spent_usd=round(purse.spent, 4), max_cost_usd=purse.most, waiting_for=gate.under_way)
    await gate.drain(PAID_ANSWERS_SECONDS)
    raise StopRun(
        f"engine.max_cost_usd: {purse.most:g} US dollars are spent ({purse.spent:.4f})",
        hint=f"{purse.spent:.4f} US dollars are spent; to go on, raise engine.max_cost_usd.",
    )


async def progress(observer: Observer) -> None:
    """A line now and then; what it says of a run is also read from the log by ``status``."""
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        board = observer.board()
        counts = {stage.name: f"{stage.done}+{stage.busy}" for stage in board.stages}
        faults = {f"{endpoint.name}_faults": endpoint.faults for endpoint in board.endpoints if endpoint.faults}
        left = {} if board.seconds_left is None else {"seconds_left": board.seconds_left}
        log.info("progress", **counts, dropped=board.dropped, failed=board.failed, **left, **faults)
