"""Ensures that no process of the embedded engine outlives this process, however this process ends.

vLLM runs its engine in child processes, which notice late or never that their parent was killed. So each engine gets a
guard: this file, run as a small separate program that waits until its parent is gone and then kills what is left of
the engine. Decisions:

- A separate process, since nothing inside this one survives SIGKILL; in its own session, so that a Ctrl-C or a killed
  process group does not end the guard, too.
- It recognises the processes to kill by one mark: every process that Python's multiprocessing starts, directly or
  indirectly, holds the write end of the resource tracker's pipe. So there is no list of process ids to keep up to date,
  and no race with processes that are just starting. It also kills this process's other multiprocessing children, which
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
"""How long the guard keeps killing; by then only a process stuck in the kernel can be left."""

ProcessKey = tuple[int, int]
"""A process id and its start time, which distinguishes it from a later process with the same id."""


def _start_times_and_parents() -> dict[ProcessKey, int]:
    """Every running process, with its parent's id; without zombies."""
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
    """This process's engine children, found by vLLM's names for them: no public API returns them while they start."""
    return {child for child in multiprocessing.active_children() if child.name.startswith(("EngineCore", "VLLM_DP"))}


def _tracker() -> int:
    """The write end of the resource tracker's pipe; the tracker is started if need be.

    It is started here and not with the first child: starting it unblocks SIGINT in the calling thread, and the thread
    that starts the engine must keep it blocked. Its warnings are off: it removes what a killed engine leaves behind.
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
    """The guard of this process's engine; it runs until ``stop``, even after the end of this process."""

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
        """End the guard; the engine must be gone already."""
        self._process.kill()
        self._process.wait()


def _holders(mark: int) -> list[int]:
    """Processes that hold the write end of pipe ``mark``; the resource tracker itself holds only the read end."""
    link = f"pipe:[{mark}]"

    def holds(fd: Path) -> bool:
        with suppress(OSError):  # closed since it was listed, which says nothing about the process's others
            # The link's own mode shows whether the descriptor is open for writing.
            return bool(fd.lstat().st_mode & 0o200) and str(fd.readlink()) == link
        return False

    pids = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # the process has ended
                if any(map(holds, (entry / "fd").iterdir())):
                    pids.append(int(entry.name))
    return pids


def _watch(owner: int, mark: int) -> None:
    """Wait until ``owner``, our parent, is gone; then kill all processes with ``mark`` and their descendants."""
    while os.getppid() == owner:
        time.sleep(POLL_SECONDS)
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while (left := _holders(mark)) and time.monotonic() < give_up:
        kill(family(left))
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), int(sys.argv[2]))
