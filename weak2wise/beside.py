"""What goes on beside a run: a progress line now and then, an eye on the money, and a word for how it ended."""

import asyncio

import structlog

from weak2wise.errors import ConfigError, StopRun
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


def log_ending(error: BaseException | None) -> str:
    """How the run ended that left with this error, or with none; an interruption is logged, as nobody else does it."""
    while isinstance(error, BaseExceptionGroup):
        error = next((e for e in error.exceptions if isinstance(e, StopRun)), error.exceptions[0])
    match error:
        case None:
            return "finished"
        case asyncio.CancelledError():
            log.info("run.interrupted")
            return "interrupted"
        case StopRun() | ConfigError():
            return f"stopped: {error}"
    return f"stopped by a bug: {type(error).__name__}: {error}"


async def progress(observer: Observer) -> None:
    """A line now and then; what it says of a run is also read from the log by ``status``."""
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        board = observer.board()
        facts: dict[str, object] = {"ended": board.ended, "rows": board.rows, "per_minute": board.per_minute}
        facts |= {} if board.seconds_left is None else {"seconds_left": board.seconds_left}
        facts |= {"bottleneck": board.bottleneck} if board.bottleneck else {}
        facts |= {"cost_usd": round(board.cost_usd, 4)} if board.cost_usd else {}
        facts |= {"dropped": board.dropped, "failed": board.failed}
        facts |= {stage.name: f"{stage.done}+{stage.busy}" for stage in board.stages}
        for endpoint in board.endpoints:
            facts |= {f"{endpoint.name}_per_minute": endpoint.per_minute} if endpoint.per_minute else {}
            facts |= {f"{endpoint.name}_faults": endpoint.faults} if endpoint.faults else {}
            facts |= {} if endpoint.down is None else {f"{endpoint.name}_down": round(endpoint.down)}
        for engine in board.engines:
            facts[f"{engine.name}_tokens_per_second"] = engine.tokens_per_second
        log.info("progress", **facts)
