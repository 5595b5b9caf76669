"""What an operator needs beside a run's counters: since when nothing has got on, its money and its disk."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from weak2wise.llm.cost import CostBudget

FULL_BYTES, FULL_FILES = 32 << 20, 50
"""Free bytes and files below which a disk counts as full: the next shard would fill it."""


class Disk(Struct, frozen=True):
    """The file system of a work_dir: its bytes, those that are free for us, and the files that may still be made."""

    size: int
    free: int
    files: int

    @classmethod
    def of(cls, folder: Path) -> "Disk":
        """That of a folder. Blocks; raises ``OSError``."""
        found = os.statvfs(folder)
        # A file system without a number of files has none in total.
        files = found.f_favail if found.f_files else FULL_FILES
        return cls(found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail, files)

    @property
    def full(self) -> bool:
        """Whether hardly anything can be written."""
        return self.free < FULL_BYTES or self.files < FULL_FILES


class Vitals:
    """Of one run.

    Args:
        folder: the run's work_dir.
        budget: of its host.
        in_batches: how many requests wait for a batch of a provider.
    """

    def __init__(self, folder: Path, budget: CostBudget, in_batches: Callable[[], int] = lambda: 0) -> None:
        self.folder = folder
        self.budget = budget
        self.in_batches = in_batches
        self._moved = (-1, time.monotonic())
        self._engines: dict[str, tuple[int, float]] = {}
        """By embedded engine: its answers, and since when there are no more of them, or no calls in it."""

    @property
    def name(self) -> str:
        """The run's name: its folder, and the one that is in."""
        return "/".join(self.folder.parts[-2:])

    def note(self, counted: int, engines: Iterable[tuple[str, int, int]]) -> None:
        """Take note of the counters, once a second.

        Args:
            counted: grows whenever anything was answered or got on.
            engines: of each embedded engine its name, the calls in it, and its answers so far.
        """
        now = time.monotonic()
        if counted != self._moved[0]:
            self._moved = counted, now
        for name, running, answered in engines:
            if not running or self._engines.get(name, (-1, now))[0] != answered:
                self._engines[name] = answered, now

    @property
    def quiet(self) -> float:
        """Seconds since anything was answered or got on."""
        return time.monotonic() - self._moved[1]

    def silent(self, engine: str) -> float:
        """Seconds for which an embedded engine has had calls in it and answered none."""
        now = time.monotonic()
        return now - self._engines.get(engine, (0, now))[1]
