"""Runs whose strong models are asked in batches, against the loopback server in the same event loop."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import config_for, save, write_run
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_faults import BatchFaults, Rule
from tests.loopback.batches import BatchStats
from tests.loopback.server import serve
from weak2wise.config import load_config
from weak2wise.errors import RunStopped, single_errors
from weak2wise.llm.batch import course, fetching
from weak2wise.outputs.summary import Summary
from weak2wise.run.engine import Engine

BATCH = {"poll": "20ms", "max_wait": "500ms"}
STRONG = ("strong-a", "strong-b")
QUESTIONS = 8


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what is waited for at a provider whose listing and files are late."""
    monkeypatch.setattr(course, "SETTLE_SECONDS", 1.2)
    monkeypatch.setattr(course, "FILES_SECONDS", 2.0)
    monkeypatch.setattr("weak2wise.llm.retry.FIRST_WAIT", 0.01)
    monkeypatch.setattr(fetching, "LOOKS", 3)


def write(
    folder: Path,
    base_url: str,
    batch: dict[str, Any] | None = None,
    *,
    batched: tuple[str, ...] = STRONG,
    **config: Any,
) -> Path:
    """A run in a folder, its strong models batched if ``batch`` says how; returns the config's path."""
    made = config_for(folder, base_url, skip_filter=True, n_mask=2)
    made["models"]["judge"] = None
    for section, keys in config.items():
        made[section] = made.get(section, {}) | keys
    for name in batched if batch is not None else ():
        made["model_endpoints"][name]["batch"] = BATCH | (batch or {})
    write_run(folder, made, QUESTIONS)
    return save(folder, made)


async def run(config: Path, **options: Any) -> Summary:
    """One start, in this process."""
    return await Engine(load_config(config), **options).run()


async def ordinary(folder: Path) -> bytes:
    """The output file of a run by ordinary calls."""
    async with serve() as server:
        await run(write(folder, server.base_url))
    return (folder / "out.jsonl").read_bytes()


def served(*rules: Rule, **settings: Any) -> Any:
    """The server, with these faults of batches."""
    given: dict[str, Any] = {"seconds": 0.1, "cancelling": 0.05, "faults": BatchFaults(rules=rules)} | settings
    return serve(batches=BatchSettings(**given))


def paid_once(stats: BatchStats) -> bool:
    """Whether something was charged, and nothing twice."""
    return stats.charged > 0 and {line.charged for line in stats.lines.values()} == {1}


async def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def change(config: Path, name: str, **keys: Any) -> Path:
    """Set keys of an endpoint."""
    made = yaml.safe_load(config.read_text())
    made["model_endpoints"][name] |= keys
    config.write_text(yaml.safe_dump(made))
    return config


async def stopped(config: Path) -> str:
    """Run until it stops; why."""
    with pytest.raises(BaseExceptionGroup) as raised:
        await run(config)
    return "; ".join(f"{error}. {error.hint}" for error in single_errors(raised.value) if isinstance(error, RunStopped))
