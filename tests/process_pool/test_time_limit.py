"""The time limit of a call in the pool is its own CPU time: nothing else can use it up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT
from tests.process_pool.calls import hang
from weak2wise.process_pool import KillablePool, PoolTimeout

pytestmark = pytest.mark.slow

FROZEN = """
import asyncio, sys
from tests.process_pool.calls import busy
from weak2wise.process_pool import KillablePool

async def main():
    async with KillablePool() as pool:
        await pool.run(busy, 0.0, time_limit=1.0)
        print("ready", flush=True)
        print(await pool.run(busy, 0.6, time_limit=1.0), flush=True)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("group", [False, True], ids=["this process alone", "with its workers"])
def test_a_call_in_the_pool_does_not_fail_because_the_process_stood_still(tmp_path: Path, group: bool) -> None:
    program = tmp_path / "program.py"
    program.write_text(FROZEN)
    words: Any = [sys.executable, str(program)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        stop = os.killpg if group else os.kill
        stop(process.pid, signal.SIGSTOP)
        time.sleep(4)
        stop(process.pid, signal.SIGCONT)
        assert process.communicate(timeout=30)[0] == "done\n"


async def test_a_call_in_the_pool_ends_at_its_time_limit_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    async with KillablePool() as pool:
        with pytest.raises(PoolTimeout):
            await pool.run(hang, time_limit=0.3)
