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
from rich.text import Text

from weak2wise.commands.batch import show_batches
from weak2wise.commands.say import program, report_errors, say
from weak2wise.commands.tables import dollars, new_table, short
from weak2wise.commands.where import kept_config, work_dir_of
from weak2wise.dataset import unreadable_advice
from weak2wise.ledger.account import Totals
from weak2wise.ledger.manifest import Fork
from weak2wise.outputs.batches import BatchFacts, batches_out
from weak2wise.outputs.reasons import in_words
from weak2wise.outputs.spending import KNOWN_FROM, Spending, spending
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.side_costs import side_costs_usd
from weak2wise.telemetry.plain import plain


class RunStatus(Struct, kw_only=True):
    """What ``--json`` prints. ``whole``: ``totals.rows`` counts the whole input, not only the rows begun.

    ``per_minute``: recent outcomes a minute of each step, while the run goes on. ``held``: calls that wait for off-peak
    hours, by endpoint. ``batches``: those that are out. ``side_costs_usd``: what previews, checks and comparisons have
    spent. ``scorer``: ``params.scorer``. ``output``: the file that the run's last step writes when it has finished.
    ``forked``: the run that this one was forked from.
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
    scorer: str
    per_minute: dict[str, float]
    seconds_left: float | None
    held: dict[str, str]
    batches: list[BatchFacts]
    spending: Spending
    side_costs_usd: float
    output: str
    forked: Fork | None


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
        scorer=work.scorer_name,
        per_minute=rates,
        seconds_left=history.seconds_left(datetime.now(UTC)) if state == "running" else None,
        held=history.progress[-1].held if state == "running" and history.progress else {},
        batches=batches_out(work.folder),
        spending=spending(work),
        side_costs_usd=side_costs_usd(work.folder),
        output=work.output,
        forked=work.manifest.forked,
    )


def _show(found: RunStatus, console: Console) -> None:
    process = f" (process {found.process})" if found.process else ""
    reason = f": {plain(found.reason)}" if found.reason and found.state == "stopped" else ""
    since = f", last event {found.last_event:%Y-%m-%d %H:%M:%S} UTC" if found.last_event else ""
    console.print(Text(f"{found.work_dir}: {found.state}{process}{reason}{since}"), soft_wrap=True)
    if origin := found.forked:
        changed = ", ".join(origin.changed) or "nothing"
        said = f"forked from {plain(origin.work_dir)}; changed: {plain(changed)}; shared: what it had before step"
        console.print(Text(f"{said} {origin.from_step}, and its answers"), soft_wrap=True)
    table = new_table("step", "done", "dropped", "failed", *(["a minute"] if found.per_minute else []))
    for step, counts in found.steps.items():
        rate = [f"{found.per_minute[step]:,.1f}"] if found.per_minute else []
        named = f"{step} ({plain(found.scorer)})" if step == "stepmask" != found.scorer else step
        table.add_row(Text(named), *(f"{counts[column]:,}" for column in ("done", "dropped", "failed")), *rate)
    console.print(table)
    totals = found.totals
    dropped, failed = sum(totals.dropped.values()), sum(totals.failed.values())
    console.print(
        f"{totals.rows:,} questions{'' if found.whole else ' begun'} = {totals.emitted:,} emitted + {dropped:,} dropped"
        f" + {failed:,} failed + {totals.unfinished:,} unfinished",
        highlight=False,
    )
    for reason, count in totals.dropped.items():
        console.print(Text(f"  dropped: {plain(in_words(reason))}: {count:,}"))
    for kind, count in totals.failed.items():
        console.print(Text(f"  failed: {kind}: {count:,}"))
    if found.seconds_left is not None:
        console.print(f"about {timedelta(seconds=round(found.seconds_left))} left", highlight=False)
    for name, held in found.held.items():
        console.print(Text(f"{name}: held for off-peak prices: {held}"))
    if found.batches:
        console.print()
        show_batches(found.batches, console)
    _show_spending(found, console)
    written = "" if found.state == "finished" else " (written when the run has finished)"
    console.print(Text(f"output: {found.output}{written}"), soft_wrap=True)


def _show_spending(found: RunStatus, console: Console) -> None:
    """What was spent, and what is still to come: the totals in words, then a table by role."""
    spent, to_come = found.spending.roles, found.spending.to_come
    if not spent:
        return
    usd = found.spending.cost_usd + found.side_costs_usd
    by_role = dict.fromkeys(use.role for use in spent)
    left = {part.role: part for part in to_come or ()}
    said = _spent(found, usd)
    if to_come is None:
        said.append(f"what is still to come is known when {KNOWN_FROM} questions are through")
    elif usd and to_come:
        said.append(f"about {dollars(sum(part.cost_usd for part in to_come))} still to come")
    console.print()
    if said:
        console.print(Text("; ".join(said)))
    last = [*(["US dollars"] if usd else []), *(["still to come"] if to_come != [] else [])]
    table = new_table("role", "calls", "tokens in", "tokens out", *last)
    for role in ("all", *by_role):
        uses = [use for use in spent if role in ("all", use.role)]
        sums = [sum(getattr(use, key) for use in uses) for key in ("calls", "prompt_tokens", "completion_tokens")]
        parts = [part for name, part in left.items() if role in ("all", name)]
        if to_come is None:
            more = "?"
        elif usd:
            more = dollars(sum(part.cost_usd for part in parts))
        else:
            more = f"{short(sum(part.prompt_tokens + part.completion_tokens for part in parts))} tokens"
        cost = [dollars(sum(use.cost_usd for use in uses))] if usd else []
        cells = (f"{sums[0]:,}", *map(short, sums[1:]), *cost, *([more] if to_come != [] else []))
        table.add_row(Text(role), *cells, style="bold" if role == "all" else "")
    console.print(table)


def _spent(found: RunStatus, usd: float) -> list[str]:
    """What was spent, and for what, in words; nothing if nothing was."""
    if not usd:
        return []
    forked = found.forked.spent_usd if found.forked else 0.0
    parts = {
        "by previews, checks and comparisons": found.side_costs_usd,
        "in the run that this one was forked from": forked,
        "for answers that could not be used": sum(use.wasted_usd for use in found.spending.roles),
    }
    of_it = "".join(f", {dollars(part)} of it {what}" for what, part in parts.items() if part)
    return [f"spent: {dollars(usd)} US dollars{of_it}"]


def _advise(found: RunStatus, work: WorkDir) -> None:
    """Print what to do about a run that has ended with failed or unfinished questions."""
    if found.state == "running":
        return
    lines = found.totals.unreadable
    if lines and found.state == "finished":
        say(f"{unreadable_advice(lines, work.folder / 'failed.jsonl', Path(work.history.input or ''))}.")
    if found.state == "stopped" or sum(found.totals.failed.values()) > lines or found.totals.unfinished:
        config = kept_config(work.folder)
        which = "" if config else " the command that started it"
        say(f"Go on with{which}: {shlex.join([*program(), '--config', str(config or 'FILE')])}")
