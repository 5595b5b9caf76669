"""``status``: the state of a run, whether it is running, stopped or finished."""

import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weak2wise.commands.say import program, report_errors, say
from weak2wise.commands.where import work_dir_of
from weak2wise.dataset import unreadable_advice
from weak2wise.ledger.account import Totals
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.telemetry.plain import plain


class RunStatus(Struct, kw_only=True):
    """What ``--json`` prints. ``whole``: ``totals.rows`` counts the whole input, not only the rows begun.

    ``per_minute``: recent outcomes a minute of each step, while the run goes on.
    """

    work_dir: str
    state: Literal["running", "finished", "stopped"]
    process: int | None
    started: datetime | None
    last_event: datetime | None
    reason: str | None
    totals: Totals
    whole: bool
    steps: dict[str, dict[str, int]]
    per_minute: dict[str, float]
    seconds_left: float | None


@report_errors
def status(
    work_dir: Path | None = None,
    *,
    json: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    config: Path = Path("config.yaml"),
) -> int:
    """Show the state of a run, read from its files. The run may be running, stopped or finished.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        json: Print one JSON object for a script.
        config: The config file that names the work_dir, if it is not given.
    """
    work = WorkDir(work_dir_of(work_dir, config))
    found = run_status(work)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _show(found, Console())
        _advise(found, work)
    return 0


def run_status(work: WorkDir) -> RunStatus:
    """Count the rows by state. Blocks; raises the same errors as ``WorkDir``."""
    totals, whole = work.totals()
    state, history = work.state(), work.history
    rates = history.per_minute() if state == "running" else {}
    counts = {step: work.counts(step) for step in work.through}
    return RunStatus(
        work_dir=str(work.folder),
        state=state,
        process=work.running() or None,
        started=history.started,
        last_event=history.last,
        reason=history.stopped,
        totals=totals,
        whole=whole,
        steps=counts,
        per_minute=rates,
        seconds_left=history.seconds_left(datetime.now(UTC)) if state == "running" else None,
    )


def _show(found: RunStatus, console: Console) -> None:
    process = f" (process {found.process})" if found.process else ""
    reason = f": {plain(found.reason)}" if found.reason and found.state == "stopped" else ""
    since = f", last event {found.last_event:%Y-%m-%d %H:%M:%S} UTC" if found.last_event else ""
    console.print(Text(f"{found.work_dir}: {found.state}{process}{reason}{since}"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("step")
    for column in ("done", "dropped", "failed", *(["a minute"] if found.per_minute else [])):
        table.add_column(column, justify="right")
    for step, counts in found.steps.items():
        rate = [f"{found.per_minute[step]:,.1f}"] if found.per_minute else []
        table.add_row(step, *(f"{counts[column]:,}" for column in ("done", "dropped", "failed")), *rate)
    console.print(table)
    totals = found.totals
    dropped, failed = sum(totals.dropped.values()), sum(totals.failed.values())
    console.print(
        f"{totals.rows:,} questions{'' if found.whole else ' begun'} = {totals.emitted:,} emitted + {dropped:,} dropped"
        f" + {failed:,} failed + {totals.unfinished:,} unfinished",
        highlight=False,
    )
    for kind, count in totals.failed.items():
        console.print(Text(f"  failed: {kind}: {count:,}"))
    if found.seconds_left is not None:
        console.print(f"about {timedelta(seconds=round(found.seconds_left))} left", highlight=False)


def _advise(found: RunStatus, work: WorkDir) -> None:
    """Print what to do about a run that has ended with failed or unfinished questions."""
    if found.state == "running":
        return
    lines = found.totals.unreadable
    if lines and found.state == "finished":
        say(f"{unreadable_advice(lines, work.folder / 'failed.jsonl', Path(work.history.input or ''))}.")
    if found.state == "stopped" or sum(found.totals.failed.values()) > lines or found.totals.unfinished:
        say(f"Go on with the command that started it: {shlex.join(program())} --config FILE")
