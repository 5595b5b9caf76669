"""The program of a source tree, run to its end as a process of its own, with what it took."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Took(NamedTuple):
    """Seconds on the clock, seconds of CPU, and the peak of resident memory in MiB."""

    seconds: float
    cpu: float
    mib: float


def run_program(tree: Path, *arguments: str, meanwhile: Callable[[int], Any] = lambda _pid: None) -> Took:
    """Run a command of the program in ``tree``; ``meanwhile`` is called with its process.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", "weak2wise.engine", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryFile("w+") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT)
        meanwhile(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{tree}: {' '.join(command)}: exit code {process.returncode}\n{output.read()[-3000:]}")
    return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def runs(pid: int) -> bool:
    """Whether a child still runs; ``run_program`` waits for it all the same."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
