"""An interruption ends a run within seconds, whatever its threads are doing, and hands the work_dir over whole."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, write_run
from weak2wise.config import load_config
from weak2wise.ledger.files import holder
from weak2wise.ledger.manifest import settle
from weak2wise.run.engine import Engine

pytestmark = pytest.mark.slow

GIGABYTE = 1 << 30


def large_input(folder: Path, size: int) -> Path:
    """A run over so many bytes of nothing, which take no room on the disk; returns the config's path."""
    write_run(folder, config_for(folder, "http://127.0.0.1:9/v1"), 1)
    with (folder / "in.jsonl").open("r+b") as file:
        file.truncate(size)
    return folder / "config.yaml"


def test_ctrl_c_does_not_wait_for_a_large_input_to_be_read(tmp_path: Path) -> None:
    config = large_input(tmp_path, 200 * GIGABYTE)
    words = [sys.executable, "-m", "weak2wise.engine", "--config", str(config)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as engine:
        while not (tmp_path / "work" / "run.log").exists():
            time.sleep(0.02)
        time.sleep(0.5)
        began = time.monotonic()
        engine.send_signal(signal.SIGINT)
        _, said = engine.communicate(timeout=60)
        assert time.monotonic() - began < 5
    assert engine.returncode == 130
    assert said.startswith("Interrupted; everything that had arrived is kept. Go on with: ")


async def test_the_work_dir_is_held_until_nothing_writes_there_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is written by the thread that reads the input, though nobody waits for it any more."""
    work, reading = tmp_path / "work", asyncio.Event()
    loop, go_on = asyncio.get_running_loop(), threading.Event()

    def settle_now(*args: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(reading.set)
        go_on.wait(60)
        return settle(*args, **options)

    monkeypatch.setattr("weak2wise.run.preparation.settle", settle_now)
    engine = Engine(load_config(large_input(tmp_path, 1024)))
    running = asyncio.create_task(engine.run())
    await reading.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not (work / "manifest.json").exists()
    assert holder(work) is not None
    go_on.set()
    while holder(work) is not None:
        await asyncio.sleep(0.01)
    assert (work / "manifest.json").exists()
