"""``compare``: scorers side by side, on the traces that a run already has."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import cyclopts
import uvloop
from rich.console import Console
from rich.text import Text

from weak2wise.commands.carry_out import tune_memory
from weak2wise.commands.say import INTERRUPTED, command_line, explain, handle_interrupts, say
from weak2wise.commands.signals import until_signalled
from weak2wise.commands.tables import new_table, short
from weak2wise.commands.where import config_of
from weak2wise.compare.comparing import Comparing, page_of
from weak2wise.config import load_config
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.llm.http.open_files import raise_open_files
from weak2wise.outputs.comparison.facts import Comparison
from weak2wise.outputs.comparison.page import page
from weak2wise.outputs.comparison.words import interval, seconds, settled, share
from weak2wise.outputs.target import writing
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.telemetry.log import Echo
from weak2wise.telemetry.terminal import wait_for_reader, write_line

_DEFAULT = "random,first,shortest,longest,full_hint"
"""Those that every weak LLM can be asked for."""


def compare(
    work_dir: Path | None = None,
    *,
    scorers: Annotated[str, cyclopts.Parameter(name=["--scorers", "--scorer"])] = _DEFAULT,
    seeds: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=2))] = 2,
    sample: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=2))] = 200,
    config: Path | None = None,
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
) -> int:
    """Compare scorers on the traces that a run already has.

    No strong model is asked. The weak LLM is asked what the scorers need, unless it was asked before: Step-Mask, by
    which all are measured, asks every mask level of every trace, once for each seed. The answers are kept in the
    work_dir's folder compare, so the same command goes on after an interruption. The run itself is not changed.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        scorers: Names of scorers, or import paths, with commas between them.
        seeds: How often each scorer chooses, each time with another seed.
        sample: How many questions, drawn at random; all if there are no more.
        config: The run's config (default: the one in the work_dir, else config.yaml).
        set_: Override a key of the config, such as the address of an endpoint. May be given several times.
    """
    handle_interrupts()
    comparing: Comparing | None = None
    try:
        names = [name.strip() for name in scorers.split(",")]
        if not all(names):
            raise ConfigError("--scorers: expected names with commas between them, such as shortest,full_hint")
        loaded = load_config(config_of(work_dir, config), set_ or (), env=None)
        folder = work_dir or Path(loaded.dataset.work_dir)
        work = WorkDir(folder)
        raise_open_files([endpoint.limits.max_concurrent_requests for endpoint in loaded.endpoints.values()])
        comparing = Comparing(work, loaded, names, draws=seeds, sample=sample, echo=Echo(write_line, progress=True))
        tune_memory()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(until_signalled(comparing.run(), comparing.drain))
            if found is None:
                say("Interrupted; what was answered is kept. Go on with", command_line())
                wait_for_reader()
                os._exit(INTERRUPTED)  # no return: the runner would wait for a thread that is still measuring
        path = page_of(folder)
        with writing(path):
            write_atomic(path, (part.encode() for part in page(found)))
    except Exception as error:  # noqa: BLE001 - explained by its kind, as for a run
        redact = comparing.redact if comparing else str
        return explain(error, command_line(), kept=True, logged=False, redact=redact)
    wait_for_reader()
    show(found, Console())
    say(f"{path}: open it in any browser; the numbers of every question are in {path.with_name('compare.json')}")
    if found.failed:
        say(f"{sum(found.failed.values()):,} questions could not be scored, see {comparing.folder / 'compare.log'}.")
    return 1 if found.failed else 0


def show(found: Comparison, console: Console) -> None:
    """Print the comparison as a table, and what it says about noise."""
    drawn = f" of {found.available:,}" if found.compared < found.available else ""
    console.print(
        Text(
            f"{found.compared:,}{drawn} questions, {found.traces:,} traces, {found.draws} seeds; weak LLM {found.weak}"
        )
    )
    for reason, count in (found.left_out | found.failed).items():
        console.print(Text(f"{count:,} questions left out: {reason}"))
    console.print()
    tables = (
        new_table("criterion", "Step-Mask score", "regret", "at most"),
        new_table("criterion", "same winner", "tau-b", "again", "ties", "ones"),
        new_table("criterion", "calls", "tokens in", "tokens out", "time"),
    )
    for one in found.criteria:
        tau = interval(one.correlation) if one.correlation else "-"
        ties, ones = f"{100 * one.ties:.0f}%", "-" if one.ones is None else f"{100 * one.ones:.0f}%"
        used = (one.cost.calls, one.cost.tokens_in, one.cost.tokens_out)
        rows = (
            (interval(one.score), interval(one.regret), f"{one.regret_at_most.value:.3f}"),
            (share(one.same), tau, f"{100 * one.again.value:.0f}%", ties, ones),
            (*(short(number / found.compared) for number in used), seconds(one.cost, found.compared)),
        )
        for table, row in zip(tables, rows, strict=True):
            table.add_row(one.name, *row)
    for table in tables:
        console.print(table)
        console.print()
    console.print(
        Text(f"With another seed Step-Mask's winner changes in {share(found.noise.changes)} of the questions.")
    )
    console.print(Text(settled(found.noise)))
