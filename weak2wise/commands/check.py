"""``check``: everything that can be known before a run that costs days and money."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from weak2wise.check.findings import Finding, endpoint_findings, input_finding, work_dir_finding
from weak2wise.check.forecast import MEASURED_FROM, Forecast, forecast, survey
from weak2wise.commands.say import told
from weak2wise.config import Config, load_config
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import Resume
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.engine import Engine
from weak2wise.run.overlap import read_overlap
from weak2wise.telemetry.plain import plain


class Checked(Struct, frozen=True):
    """What ``--json`` prints. ``left`` questions need more work; the forecast is for those, and says what it assumed.

    The costs are the expected one and the most it can be, of what has ``prices``.
    """

    ok: bool
    findings: list[Finding]
    left: int
    forecast: list[Forecast]
    assumed: list[str]
    cost_usd: float | None
    most_usd: float | None


@told
def check(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    resume: Resume = "auto",
    load: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Find out before a run whether it will work and what it may cost.

    Every endpoint that plays a role is asked one tiny real question. Exits with 1 if something would keep the run from
    working.

    Args:
        config: The YAML file that says what to run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        resume: As it will be given to run.
        load: Load embedded models too and ask them; this takes as long as the start of a run.
        json: Print one JSON object for a script.
    """
    loaded = load_config(config, set_ or ())
    try:
        engine = Engine(loaded)  # checks prompts, folders and models itself
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from None
    console = Console()
    tell = _nothing if json else lambda finding: _tell(finding, console)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        checked = runner.run(_check(loaded, engine, resume, tell, load=load))
    if json:
        sys.stdout.write(msgspec.json.encode(checked).decode() + "\n")
    else:
        _show(checked, console)
    return 0 if checked.ok else 1


async def _check(
    config: Config, engine: Engine, resume: Resume, tell: Callable[[Finding], None], *, load: bool
) -> Checked:
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    note(Finding("config", "good", "read and consistent; every key it names is set"))
    overlap = await asyncio.to_thread(read_overlap, config)
    folder = Path(config.dataset.work_dir)
    work = await asyncio.to_thread(_begun, folder)
    source = await survey(config, overlap, None if resume == "never" else work)
    note(input_finding(source))
    note(await asyncio.to_thread(work_dir_finding, engine, folder, overlap, resume))
    async for finding in endpoint_findings(config, load=load):
        note(finding)
    outlook = await asyncio.to_thread(forecast, config, source, work)
    disk = outlook.disk
    note(Finding("disk", "bad" if disk.free < disk.needed else "good", disk.said()))
    ok = all(finding.verdict != "bad" for finding in findings)
    costs = [(part.cost_usd, part.most_usd) for part in outlook.parts if part.cost_usd is not None]
    cost, most = (
        (round(sum(usd or 0 for usd in column), 2) for column in zip(*costs, strict=True)) if costs else (None,) * 2
    )
    return Checked(ok, findings, outlook.left, outlook.parts, outlook.assumed, cost, most)


def _begun(folder: Path) -> WorkDir | None:
    """The work_dir, if there is a run in it that can be read."""
    try:
        return WorkDir(folder)
    except ConfigError:
        return None


def _nothing(_finding: Finding) -> None:
    return


def _tell(finding: Finding, console: Console) -> None:
    sign = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "red")}[finding.verdict]
    console.print(Text.assemble(sign, f" {finding.about}: {plain(finding.said)}"), soft_wrap=True)


def _show(checked: Checked, console: Console) -> None:
    def tell(text: str, style: str = "") -> None:
        console.print(Text(text, style), soft_wrap=True)

    if checked.left:
        tell(f"\nStill to be asked, for {checked.left:,} questions:", "bold")
        for part in checked.forecast:
            tokens = f"{_short(part.prompt_tokens)} prompt and {_short(part.completion_tokens)} answer tokens"
            cost = "" if part.cost_usd is None else f", {part.cost_usd:,.2f} US dollars"
            most = "" if part.most_usd is None else f", {part.most_usd:,.2f} US dollars"
            tell(f"  {part.role} on {part.endpoint}: about {part.calls:,} calls, {tokens} ({part.basis}){cost}")
            tell(f"    at most {part.most_calls:,} calls, {_short(part.most_tokens)} answer tokens{most}")
        if checked.cost_usd is None:
            tell("  For what that costs set model_endpoints.NAME.prices.")
        else:
            tell(f"  together about {checked.cost_usd:,.2f} US dollars, at most {checked.most_usd:,.2f}")
        if checked.assumed:
            tell(f"  Assumed until {MEASURED_FROM} questions are through: {'; '.join(checked.assumed)}.")
        tell("  At most: nothing is solved, spared or decided by rule, and every answer takes all of its max_tokens.")
    ready = "Ready to run." if checked.left else "Nothing is left to ask: every question is emitted or dropped."
    tell(f"\n{ready}" if checked.ok else "\nNot ready: mend what is marked ✗ and check again.")


def _short(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number / 1e3:,.1f} k"
