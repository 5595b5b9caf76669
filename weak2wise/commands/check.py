"""``check``: find problems and estimate costs before a run that takes days and money."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated, TypeVar, cast

import cyclopts
import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from weak2wise.check.findings import (
    Finding,
    endpoint_findings,
    input_finding,
    notify_finding,
    secret_findings,
    work_dir_finding,
)
from weak2wise.check.forecast import MEASURED_FROM, Forecast, Source, forecast, survey
from weak2wise.check.hours import Hours, Timetable, timetable
from weak2wise.commands.extras import needing_ray
from weak2wise.commands.say import report_errors
from weak2wise.commands.tables import dollars, duration, new_table, short
from weak2wise.config import Config, environment_problems, load_config
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import Resume, load_manifest
from weak2wise.outputs.history import History
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.engine import Engine
from weak2wise.run.host import Host
from weak2wise.run.overlap import read_overlap
from weak2wise.run.side_costs import side_budget
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import QueuedStream

T = TypeVar("T")


class Checked(Struct, frozen=True):
    """What ``--json`` prints. ``left``: questions that need more work; the forecast is for those.

    ``assumed``: what the forecast assumes. ``cost_usd`` and ``most_usd``: the expected and the highest possible cost of
    the endpoints that have ``prices``. ``cap_usd``: ``engine.max_cost_usd``.
    """

    ok: bool
    findings: list[Finding]
    left: int
    forecast: list[Forecast]
    assumed: list[str]
    cost_usd: float | None
    most_usd: float | None
    cap_usd: float | None
    time: Timetable


class _Findings:
    """The findings so far; each is shown as it is found."""

    def __init__(self, show: Callable[[Finding], None]) -> None:
        self.all: list[Finding] = []
        self.starts = True
        """Whether a run would start at all."""
        self._show = show

    def add(self, finding: Finding) -> None:
        """Add one."""
        self.all.append(finding)
        self._show(finding)

    def refuse(self, about: str, error: ConfigError) -> None:
        """Add what keeps a run from starting, unless an earlier check met the same mistake."""
        self.starts = False
        if all(str(error) != finding.said for finding in self.all):
            self.add(Finding(about, "bad", str(error)))

    async def take(self, about: str, found: AsyncIterator[Finding]) -> None:
        """Add what is found, as it is found; a ``ConfigError`` is a finding too."""
        try:
            async for finding in found:
                self.add(finding)
        except ConfigError as error:
            self.refuse(about, error)

    async def look(self, about: str, work: Callable[[], T]) -> T | None:
        """What ``work`` returns, on a thread; ``None`` if it raises ``ConfigError``, which is a finding."""
        try:
            return await asyncio.to_thread(work)
        except ConfigError as error:
            self.refuse(about, error)
            return None


@report_errors
def check(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    resume: Resume = "auto",
    load: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    ray: str | None = None,
    json: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Check before a run whether it will work and what it may cost.

    Every endpoint in use gets one small real question, paid from engine.max_cost_usd if that is set. The exit code is 1
    if something would stop the run, 2 if it would not even start.

    Args:
        config: The YAML file of the run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        resume: The value that you will give to run.
        load: Load embedded models too and ask them the question; this takes as long as the start of a run.
        ray: The value that you will give to run: every node is asked whether it sees the same work_dir and can write
            there, and has the same versions.
        json: Print one JSON object for a script.
    """
    loaded = load_config(config, set_ or (), env=None)  # a key that is not set is one finding among others
    out = QueuedStream(sys.stdout)  # findings are shown while endpoints are being asked
    console = Console(file=cast("IO[str]", out))
    show = _ignore if json else lambda finding: _show_finding(finding, console)
    findings = _Findings(show)
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        nodes = stack.enter_context(_nodes(loaded, ray)) if ray else None
        checked = runner.run(_check(loaded, resume, findings, nodes, load=load))
    if json:
        sys.stdout.write(msgspec.json.encode(checked).decode() + "\n")
    else:
        _show_forecast(checked, console)
    out.drained()
    return 0 if checked.ok else 1 if findings.starts else 2


@contextmanager
def _nodes(config: Config, address: str) -> Iterator[AsyncIterator[Finding]]:
    """The findings of a cluster's nodes. Raises ``ConfigError`` if there is no cluster."""
    with needing_ray():
        from weak2wise.cluster.connect import joined  # noqa: PLC0415 - Ray is an extra
        from weak2wise.cluster.nodes import node_findings  # noqa: PLC0415
    with joined(address):
        yield node_findings(config)


async def _check(
    config: Config, resume: Resume, findings: _Findings, nodes: AsyncIterator[Finding] | None, *, load: bool
) -> Checked:
    """All findings in one pass: none keeps the others from being looked for."""
    engine = await findings.look("config", lambda: _engine(config))
    if engine:
        findings.add(Finding("config", "good", "read and consistent"))
    for finding in secret_findings(config):
        findings.add(finding)
    if notified := await asyncio.to_thread(notify_finding, config):
        findings.add(notified)
        findings.starts &= notified.verdict != "bad"
    overlap = await findings.look("evaluation sets", lambda: read_overlap(config))
    folder = Path(config.dataset.work_dir)
    work = await findings.look("work_dir", lambda: _earlier_run(folder, resume))
    try:
        source = await survey(config, overlap, None if resume == "never" else work)
        findings.add(input_finding(source))
    except ConfigError as error:
        source = Source()
        findings.refuse("input", error)
    if engine:
        findings.add(await asyncio.to_thread(work_dir_finding, engine, folder, overlap, resume))
    findings.starts &= not any(environment_problems(config, os.environ))
    known = {finding.said for finding in findings.all}
    try:
        with side_budget(config, "check") as budget:
            async for finding in endpoint_findings(config, budget, load=load):
                if finding.said not in known:
                    findings.add(finding)
    except ConfigError as error:  # the cap is shared with the work_dir's run
        findings.add(Finding("endpoints", "bad", f"not asked: {error}"))
    if nodes:
        await findings.take("cluster", nodes)
    outlook = await asyncio.to_thread(forecast, config, source, work)
    disk = outlook.disk
    findings.add(Finding("disk", "bad" if disk.free < disk.needed else "good", disk.describe()))
    ok = all(finding.verdict != "bad" for finding in findings.all)
    costs = [(part.cost_usd, part.most_usd) for part in outlook.parts if part.cost_usd is not None]
    cost, most = (
        (round(sum(usd or 0 for usd in column), 2) for column in zip(*costs, strict=True)) if costs else (None,) * 2
    )
    taken = {finding.about.removeprefix("endpoint "): finding.taken for finding in findings.all if finding.taken}
    speed = (work.history if work else History()).speed()
    return Checked(
        ok=ok,
        findings=findings.all,
        left=outlook.left,
        forecast=outlook.parts,
        assumed=outlook.assumed,
        cost_usd=cost,
        most_usd=most,
        cap_usd=config.engine.max_cost_usd,
        time=timetable(config, outlook, taken, speed),
    )


def _engine(config: Config) -> Engine:
    """An engine that is never run: it checks prompts, folders and models, but no keys. Raises ``ConfigError``."""
    missing = {variable: "-" for endpoint in config.endpoints.values() for variable in endpoint.secrets().values()}
    return Engine(config, host=Host(config, env=missing))


def _earlier_run(folder: Path, resume: Resume) -> WorkDir | None:
    """The work_dir, if it holds a run; a manifest that cannot be read is among the findings.

    Raises:
        ConfigError: the ledgers that the run would go on with are damaged.
    """
    try:
        if load_manifest(folder / "manifest.json") is None:
            return None
    except ConfigError:
        return None
    try:
        work = WorkDir(folder)
        work.journal.sums()
    except ConfigError:
        if resume != "never":
            raise
        return None
    return work


def _ignore(_: object) -> None:
    return


def _show_finding(finding: Finding, console: Console) -> None:
    sign = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "red")}[finding.verdict]
    line = Text.assemble(sign, f" {finding.about}: {plain(finding.said)}")
    console.print(line, soft_wrap=not console.is_terminal)  # a terminal would break it inside a word


def _show_forecast(checked: Checked, console: Console) -> None:
    """The verdict and the total first, then a table by role and one by step."""
    console.print()
    console.print(Text(_verdict(checked), "bold"))
    if not checked.left:
        return
    console.print()
    _show_roles(checked, console)
    console.print()
    _show_hours(checked.time, console)
    console.print()
    for line in _footnotes(checked):
        console.print(Text(line))


def _verdict(checked: Checked) -> str:
    if not checked.left:
        ready = "Nothing is left to ask: every question is emitted or dropped."
    else:
        ready = f"Ready to run {checked.left:,} questions: {_total(checked)}."
    if checked.ok:
        return ready
    said = "Not ready: fix what is marked ✗ and check again."
    return f"{said} Then, for {checked.left:,} questions: {_total(checked)}." if checked.left else said


def _total(checked: Checked) -> str:
    cost = "cost not known (no prices)"
    if checked.cost_usd is not None:
        cost = f"about {dollars(checked.cost_usd)} US dollars, at most {dollars(checked.most_usd)}"
        if checked.cap_usd is not None and checked.cap_usd < (checked.most_usd or 0.0):
            cost += f" (engine.max_cost_usd stops it at {dollars(checked.cap_usd)}, earlier starts included)"
    return f"{cost}; {_time(checked.time.whole)}"


def _time(found: Hours) -> str:
    if found.hours is None:
        return "time not known"
    return f"{'at least' if found.unknown else 'about'} {duration(found.hours)}"


def _show_roles(checked: Checked, console: Console) -> None:
    priced = checked.cost_usd is not None
    last = ("US dollars", "at most") if priced else ("at most out",)
    table = new_table("role", "calls", "tokens in", "tokens out", *last)

    def add(name: str, parts: list[Forecast], costs: tuple[float | None, float | None], style: str = "") -> None:
        calls, into, out, most = (
            sum(getattr(part, key) for part in parts)
            for key in ("calls", "prompt_tokens", "completion_tokens", "most_tokens")
        )
        end = [dollars(cost) for cost in costs] if priced else [short(most)]
        table.add_row(Text(name), f"{calls:,}", short(into), short(out), *end, style=style)

    add("all", checked.forecast, (checked.cost_usd, checked.most_usd), "bold")
    for part in checked.forecast:
        add(part.role, [part], (part.cost_usd, part.most_usd))
    console.print(table)


def _show_hours(found: Timetable, console: Console) -> None:
    table = new_table("step", "time", "set by", words=3)
    for step in (found.whole, *found.steps):
        held_back = step.limit
        if step.unknown:
            unknown = f"not known yet: {', '.join(step.unknown)}"
            held_back += f"; {unknown}" if held_back else unknown
        table.add_row(Text(step.step), Text(_time(step)), Text(held_back), style="bold" if step is found.whole else "")
    console.print(table)


def _footnotes(checked: Checked) -> Iterator[str]:
    for measured, how in ((True, "as so far"), (False, "assumed")):
        asked = [part for part in checked.forecast if part.calls and part.measured == measured]
        if asked:
            said = ", ".join(f"{part.role} {part.completion_tokens / part.calls:,.0f}" for part in asked)
            yield f"Tokens of an answer, {how}: {said}."
    if checked.assumed:
        yield f"Assumed until {MEASURED_FROM} questions are done: {'; '.join(checked.assumed)}."
    yield (
        "At most: no question is solved beforehand, no attempt is spared, no verdict is decided by rule, and every "
        "answer takes all of its max_tokens. Retries are not counted."
    )
    if free := [part.role for part in checked.forecast if part.cost_usd is None]:
        yield f"Without prices, so counted as free: {', '.join(free)} (model_endpoints.NAME.prices)."
    if checked.time.whole.unknown:
        yield "A speed that is not known yet is seen in the first minutes of a run; then check again."
