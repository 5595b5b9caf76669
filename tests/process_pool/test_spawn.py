"""Child processes import no main program: a script without a main guard starts its run once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_runs import ROOT

SCRIPT = """
import asyncio
import math

from weak2wise.process_pool import KillablePool

print("started")


async def root() -> float:
    async with KillablePool() as pool:
        return await pool.run(math.sqrt, 4.0, time_limit=30)


print(asyncio.run(root()))
"""
GUARDED_BY_OTHERS = """
import multiprocessing

from weak2wise.spawn import without_main


def triple(number: int) -> int:
    return 3 * number


if __name__ == "__main__":
    with without_main():
        pass
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(triple, (2,)))
"""


def run_script(folder: Path, text: str) -> str:
    """Run a script as a user would, from its own folder; returns what it printed."""
    (folder / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_run_once(tmp_path: Path) -> None:
    assert run_script(tmp_path, SCRIPT).split() == ["started", "2.0"]


def test_the_callers_own_processes_still_find_its_main_program(tmp_path: Path) -> None:
    assert run_script(tmp_path, GUARDED_BY_OTHERS).split() == ["6"]
