"""``check``: everything that can be known before a run that costs days and money."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from weak2wise.commands.say import told
from weak2wise.config import Config, OpenAIEndpoint, VllmEndpoint, load_config
from weak2wise.engine import Engine
from weak2wise.errors import ConfigError, RecordError, StopRun
from weak2wise.llm.footprint import footprint
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.llm.openai import OpenAIModel
from weak2wise.llm.vllm import VllmModel
from weak2wise.outputs.forecast import Forecast, forecast, survey
from weak2wise.telemetry.plain import plain

QUESTION = "What is 2 + 3? Answer with the number alone."


class Finding(Struct, frozen=True):
    """One thing looked at; a ``bad`` one keeps a run from working."""

    about: str
    verdict: Literal["good", "warning", "bad"]
    said: str


class Checked(Struct, frozen=True):
    """What ``--json`` prints."""

    ok: bool
    findings: list[Finding]
    forecast: list[Forecast]
    cost_usd: float | None


@told
def check(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    load: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    json: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Find out before a run whether it will work and what it may cost.

    Every endpoint that plays a role is asked one tiny real question. Exits with 1 if something would keep the run from
    working.

    Args:
        config: The YAML file that says what to run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        load: Load embedded models too and ask them; this takes as long as the start of a run.
        json: Print one JSON object for a script.
    """
    loaded = load_config(config, set_ or ())
    try:
        Engine(loaded)  # checks prompts, folders and models itself
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        checked = runner.run(_check(loaded, load=load))
    if json:
        sys.stdout.write(msgspec.json.encode(checked).decode() + "\n")
    else:
        _show(checked, Console())
    return 0 if checked.ok else 1


async def _check(config: Config, *, load: bool) -> Checked:
    source = await survey(config)
    findings = [Finding("config", "good", "read and consistent; every key it names is set")]
    said = f"{source.good:,} questions"
    if source.bad:
        said += f"; {source.bad:,} rows are none, the first: {source.first_bad}"
    if source.contaminated:
        said += f"; {source.contaminated:,} are in evaluation sets and will be dropped"
    if source.good == source.contaminated:
        findings.append(Finding("input", "bad", said))
    else:
        findings.append(Finding("input", "warning" if source.bad else "good", said))
    used = {name: config.endpoints[name] for name in dict.fromkeys(config.roles().values())}
    remote = {name: endpoint for name, endpoint in used.items() if isinstance(endpoint, OpenAIEndpoint)}
    findings += await asyncio.gather(*(_ask(name, endpoint, config) for name, endpoint in remote.items()))
    for name, endpoint in used.items():
        if not isinstance(endpoint, OpenAIEndpoint):
            looked = await asyncio.to_thread(_look, name, endpoint)
            findings.append(await _load(name, endpoint, config) if load and looked.verdict == "good" else looked)
    expected, disk = await asyncio.to_thread(forecast, config, source)
    findings.append(Finding("disk", "bad" if disk.free < disk.needed else "good", disk.said()))
    costs = [part.cost_usd for part in expected if part.cost_usd is not None]
    ok = all(finding.verdict != "bad" for finding in findings)
    return Checked(ok, findings, expected, round(sum(costs), 2) if costs else None)


async def _ask(name: str, endpoint: OpenAIEndpoint, config: Config) -> Finding:
    """Ask an endpoint, once, without retries."""
    began = time.monotonic()
    try:
        async with OpenAIModel(name, endpoint) as model:
            completion = await model.complete(_prompt(config))
    except (RecordError, StopRun) as error:
        return _refused(name, error)
    return _answered(name, config, completion, began)


async def _load(name: str, endpoint: VllmEndpoint, config: Config) -> Finding:
    """Start an embedded engine, ask it, and end it."""
    began = time.monotonic()
    model = VllmModel(name, endpoint)
    try:
        await model.start()
        completion = await model.complete(_prompt(config))
    except (ConfigError, RecordError, StopRun) as error:
        return _refused(name, error)
    finally:
        await model.close()
    return _answered(name, config, completion, began)


def _look(name: str, endpoint: VllmEndpoint) -> Finding:
    """See whether an embedded model's folder holds one; a hub name is taken as it is."""
    about, model = f"endpoint {name}", endpoint.model
    folder = Path(model).expanduser()
    if folder.is_dir() or model.startswith(("/", ".", "~")):
        missing = next(
            (part for part in ("config.json", "tokenizer_config.json") if not (folder / part).is_file()), None
        )
        if missing:
            return Finding(about, "bad", f"{folder}: no model there, no {missing} (model_endpoints.{name}.model_name)")
        needs = footprint(folder, endpoint.dtype, endpoint.kv_cache_dtype)
        size = f"needs {needs} (all GPUs together)" if needs else "a folder with a model"
        return Finding(about, "good", f"{folder}: {size}; pass --load to load it")
    return Finding(about, "good", f"{model}: a hub name, fetched when it is first loaded; pass --load to do so now")


def _prompt(config: Config) -> Prompt:
    return Prompt(messages=(Message("user", QUESTION),), temperature=0.6, seed=config.params.seed)


def _refused(name: str, error: ConfigError | RecordError | StopRun) -> Finding:
    hint = f". {error.hint}" if isinstance(error, StopRun) else ""
    return Finding(f"endpoint {name}", "bad", f"{error}{hint}")


def _answered(name: str, config: Config, completion: Completion, began: float) -> Finding:
    said = f"answered {plain(completion.text.strip())[:40]!r} in {time.monotonic() - began:.1f} s"
    if completion.usage.completion_tokens:
        said += f", {completion.usage.completion_tokens:,} tokens"
    if completion.says_nothing:
        said += f": nothing, not even thinking (finish_reason {completion.finish_reason}); is max_tokens enough?"
        return Finding(f"endpoint {name}", "bad", said)
    if name in config.models.mstrong:
        thinks = "shows its thinking" if completion.reasoning else "shows no thinking: its steps will stand in for it"
        said += f"; {thinks}"
    return Finding(f"endpoint {name}", "good", said)


def _show(checked: Checked, console: Console) -> None:
    signs = {"good": ("✓", "green"), "warning": ("!", "yellow"), "bad": ("✗", "red")}
    for finding in checked.findings:
        console.print(Text.assemble(signs[finding.verdict], f" {finding.about}: {plain(finding.said)}"), soft_wrap=True)
    console.print(Text("\nAt most, if the weak LLM solves no question beforehand:", style="bold"))
    for part in checked.forecast:
        tokens = f"about {_short(part.prompt_tokens)} prompt and {_short(part.completion_tokens)} answer tokens"
        cost = "" if part.cost_usd is None else f", {part.cost_usd:,.2f} US dollars"
        console.print(
            Text(f"  {part.role} on {part.endpoint}: {part.calls:,} calls, {tokens} ({part.basis}){cost}"),
            soft_wrap=True,
        )
    if checked.cost_usd is not None:
        console.print(Text(f"  together {checked.cost_usd:,.2f} US dollars"))
    else:
        console.print(Text("  For what that costs set model_endpoints.NAME.prices."))
    console.print(Text("\nReady to run." if checked.ok else "\nNot ready: mend what is marked ✗ and check again."))


def _short(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number / 1e3:,.1f} k"
