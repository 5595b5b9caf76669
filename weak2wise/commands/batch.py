"""``batch list`` and ``batch cancel``: the batches of a run that are out."""

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
import uvloop
from rich.console import Console
from rich.text import Text

from weak2wise.commands.say import report_errors, say
from weak2wise.commands.tables import duration, new_table
from weak2wise.commands.where import work_dir_of
from weak2wise.config import Config, OpenAIEndpoint, load_config
from weak2wise.errors import ConfigError, RecordError
from weak2wise.ledger.files import locked
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.batch.cancelling import cancel, give_up
from weak2wise.llm.batch.record import BatchRecord, BatchState
from weak2wise.llm.batch.remote import RemoteBatches
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.outputs.batches import BatchFacts, batches_out


@report_errors
def list_batches(
    work_dir: Path | None = None,
    *,
    json: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    config: Path = Path("config.yaml"),
) -> int:
    """List the batches of a run that are out, as the run saw them last. Nothing is asked of the provider.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        json: Print a JSON array for a script.
        config: The config file that names the work_dir, if it is not given.
    """
    folder = work_dir_of(work_dir, config)
    if not (folder / "manifest.json").exists() and not (folder / "ledger").is_dir():
        raise ConfigError(f"{folder}: holds no run; give the dataset.work_dir of a run")
    found = batches_out(folder)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    elif found:
        show_batches(found, Console())
    else:
        say(f"{folder}: no batch is out.")
    return 0


@report_errors
def cancel_batches(
    work_dir: Path | None = None,
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    give_up: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Cancel the batches of a run that are out. Not while the run goes on.

    What they have answered by then is paid for; the next start of the run fetches it, and asks again for the rest.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        config: The YAML file of the run: its endpoints and keys.
        set_: Override a key of the config: --set dataset.work_dir=other. May be given several times.
        give_up: Forget them too, with the answers that are paid for: for batches that cannot be fetched any more.
    """
    loaded = load_config(config, set_ or ())
    folder = work_dir or Path(loaded.dataset.work_dir)
    if not (folder / "manifest.json").exists() and not (folder / "ledger").is_dir():
        raise ConfigError(f"{folder}: holds no run; give the dataset.work_dir of a run")
    with locked(folder), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_cancel(loaded, folder, forget=give_up))


async def _cancel(config: Config, folder: Path, *, forget: bool) -> int:
    record = BatchRecord(folder / "ledger", **READ_ONLY | {"max_bytes": config.engine.shard_mb << 20})
    if record.exists:
        await asyncio.to_thread(record.open)
    try:
        states = record.states()
        if not states:
            say(f"{folder}: no batch is out.")
        refused = False
        for name in dict.fromkeys(state.endpoint for state in states):
            refused |= not await _cancel_at(config, name, record, folder, forget=forget)
    finally:
        await record.close()
    return 1 if refused else 0


async def _cancel_at(config: Config, name: str, record: BatchRecord, folder: Path, *, forget: bool) -> bool:
    """Cancel the batches at one endpoint; returns whether the provider could be asked about all of them."""
    settings = config.endpoints.get(name)
    if not isinstance(settings, OpenAIEndpoint):
        raise ConfigError(f"model_endpoints.{name}: missing, or not of type openai, but batches of it are out")
    endpoint = OpenAIModel(name, settings, HostParts(env=os.environ))
    await endpoint.open()
    try:
        provider = RemoteBatches(name, settings, endpoint.transport)
        asked = True
        for state in record.states(name):
            asked &= await _cancel_one(provider, record, state, folder, forget=forget)
        return asked
    finally:
        await endpoint.close()


async def _cancel_one(
    provider: RemoteBatches, record: BatchRecord, state: BatchState, folder: Path, *, forget: bool
) -> bool:
    named = f"{state.endpoint}: {state.batch_id or state.key} ({state.requests:,} requests)"
    try:
        said = await (give_up if forget else cancel)(provider, record, state, folder)
    except RecordError as error:
        say(f"{named}: {error}")
        return False
    say(f"{named} {said}.")
    return True


def show_batches(found: list[BatchFacts], console: Console) -> None:
    """Print a table of batches that are out."""
    table = new_table("endpoint", "batch", "status", "done", "age", "expected", "at the latest", words=3)
    for one in found:
        table.add_row(
            Text(one.endpoint),
            Text(one.batch or one.key),
            Text(one.status),
            f"{one.done:,} of {one.requests:,}",
            "" if one.age is None else duration(one.age / 3600),
            _when(one.expected),
            _when(one.latest),
        )
    console.print(table)


def _when(at: datetime | None) -> str:
    return "" if at is None else f"{at:%m-%d %H:%M} UTC"
