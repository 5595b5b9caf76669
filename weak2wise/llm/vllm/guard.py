"""Nothing of the embedded engine outlives this process, however this process ends.

vLLM runs its engine in child processes, and those notice a parent that was killed late or never. So each
engine gets a guard: this very file, run as a small program of its own that waits for its parent to be gone and
then kills what is left of the engine. Decisions:

- A process of its own, since nothing inside this one survives SIGKILL; in a session of its own, so that a Ctrl-C
  or a killed process group does not take the guard along.
- It knows its prey by one mark: every process that Python's multiprocessing starts, directly or below, holds the
  write end of the resource tracker's pipe. That needs no list of process ids to be kept up to date, and so no race
  with processes that are just being started. It also takes this process's other multiprocessing children, which
  are orphans by then as well.
- Standard library only: it runs with ``-I -S`` in a few milliseconds and a few megabytes, without vLLM.

Linux only, as vLLM is.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.25
GIVE_UP_SECONDS = 30.0
"""How long the guard goes on killing; by then only a process stuck in the kernel can be left."""

ProcessKey = tuple[int, int]
"""A process id and its start time, which tell a process from a later one that was given the same id."""


def _start_times_and_parents() -> dict[ProcessKey, int]:
    """Every process that runs now, with its parent's id; zombies are left out."""
    table: dict[ProcessKey, int] = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # The command in parentheses may hold anything; the fields after it are fixed (proc_pid_stat(5)).
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                table[int(entry.name), int(fields[19])] = int(fields[1])
    return table


def family(roots: Iterable[int]) -> frozenset[ProcessKey]:
    """The running processes among ``roots`` (process ids) and everything descended from them."""
    table = _start_times_and_parents()
    members = set(roots)
    grown = True
    while grown:
        young = {pid for (pid, _), parent in table.items() if parent in members} - members
        members |= young
        grown = bool(young)
    return frozenset(key for key in table if key[0] in members)


def kill(processes: Iterable[ProcessKey]) -> None:
    """Send SIGKILL to those of ``processes`` that still run."""
    running = _start_times_and_parents()
    for key in processes:
        if key in running:
            with suppress(ProcessLookupError):
                os.kill(key[0], signal.SIGKILL)


def engine_processes() -> set[BaseProcess]:
    """This process's engine children; vLLM names them so, and no public handle leads to them while they start."""
    return {child for child in multiprocessing.active_children() if child.name.startswith(("EngineCore", "VLLM_DP"))}


def _tracker() -> int:
    """The write end of the resource tracker's pipe; the tracker is started if need be.

    Here and not by the first child: starting it unblocks SIGINT in the calling thread, which the thread that starts
    the engine must keep blocked. It is told not to warn when it removes what a killed engine left behind.
    """
    user = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (user, "ignore:resource_tracker")))
    try:
        pipe = resource_tracker.getfd()
    finally:
        if user is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = user
    assert pipe is not None  # it has just been started
    return pipe


class Guard:
    """The guard of this process's engine; it works until ``stop`` and beyond this process's end."""

    def __init__(self) -> None:
        mark = os.fstat(_tracker()).st_ino
        self._process = subprocess.Popen(  # noqa: S603 - this file, with two numbers
            [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(mark)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Call the guard off; the engine must be gone already."""
        self._process.kill()
        self._process.wait()


def _holders(mark: int) -> list[int]:
    """Processes that hold the write end of pipe ``mark``; the resource tracker itself holds only the read end."""
    link = f"pipe:[{mark}]"
    pids = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The link's own mode tells which way the descriptor is open.
                if any(fd.lstat().st_mode & 0o200 and str(fd.readlink()) == link for fd in (entry / "fd").iterdir()):
                    pids.append(int(entry.name))
    return pids


def _watch(owner: int, mark: int) -> None:
    """Wait until ``owner``, our parent, is gone; then kill all that carry ``mark`` and whatever they started."""
    while os.getppid() == owner:
        time.sleep(POLL_SECONDS)
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while (left := _holders(mark)) and time.monotonic() < give_up:
        kill(family(left))
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), int(sys.argv[2]))
