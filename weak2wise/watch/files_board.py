"""The board of a run from its files alone: running, stopped or finished. What only its process knows is missing."""

from datetime import UTC, datetime

from weak2wise.ledger.outcomes import RowStatus
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.watch.board import Board, EndpointFacts, StageFacts

KILLED = "stopped: its process ended without a last word; it was killed, or its machine went down"


def board_of(work: WorkDir) -> Board:
    """The facts. Rates of steps and the time left are those that the run has logged. Blocks; raises as ``WorkDir``."""
    (totals, whole), history = work.totals(), work.history
    running = work.state() == "running"
    rates = history.per_minute() if running else {}
    dropped, failed = sum(totals.dropped.values()), sum(totals.failed.values())
    spent: dict[str, Spent] = {}
    for (_, endpoint, _), part in work.journal.sums().items():
        spent.setdefault(endpoint, Spent()).add_all(part)
    last, began = history.last, history.started
    return Board(
        seconds=round((last - began).total_seconds(), 1) if last and began else 0.0,
        rows=totals.rows if whole else None,
        ended=totals.emitted + dropped + failed,
        emitted=totals.emitted,
        dropped=dropped,
        failed=failed,
        to_retry=0,
        per_minute=0.0,
        seconds_left=history.seconds_left(datetime.now(UTC)) if running else None,
        bottleneck=None,
        cost_usd=sum(used.cost_usd for used in spent.values()),
        loop_lag=0.0,
        stages=[_stage(work, step, rates) for step in work.through],
        endpoints=_endpoints(work, spent, running=running),
        engines=[],
        verdicts={},
        bits={},
        ending=None if running else _ending(work),
    )


def _stage(work: WorkDir, step: str, rates: dict[str, float]) -> StageFacts:
    tally = work.steps[step].tally
    return StageFacts(
        name=step,
        done=tally[RowStatus.DONE],
        dropped=tally[RowStatus.DROPPED],
        failed=tally[RowStatus.FAILED],
        busy=0,
        lanes=0,
        waiting=0,
        per_minute=round(rates.get(step, 0.0), 1),
    )


def _endpoints(work: WorkDir, spent: dict[str, Spent], *, running: bool) -> list[EndpointFacts]:
    """Those that have answered; ``sent`` and ``answered`` are the answers that are kept, of all starts."""
    speed = work.history.speed() if running else None
    this_start = None if running else work.summary().this_start
    faults = {use.endpoint: use.faults for use in this_start.endpoints} if this_start else {}
    return [
        EndpointFacts(
            name=name,
            in_flight=0,
            limit=0,
            sent=used.calls,
            answered=used.calls,
            faults=faults.get(name, {}),
            per_minute=round(speed.per_minute.get(name, 0.0), 1) if speed else 0.0,
            tokens_per_minute=0.0,
            tokens=used.prompt_tokens + used.completion_tokens,
            cost_usd=used.cost_usd,
        )
        for name, used in sorted(spent.items())
    ]


def _ending(work: WorkDir) -> str:
    if work.history.finished:
        return "finished"
    reason = work.history.stopped
    return KILLED if reason is None else reason if reason == "interrupted" else f"stopped: {reason}"
