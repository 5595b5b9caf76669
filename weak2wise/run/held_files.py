"""What a run has locked: its work_dir and, with the last step, its output file."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from weak2wise.errors import RunStopped
from weak2wise.ledger.files import fix_hint, locked
from weak2wise.outputs.claim import Claim
from weak2wise.run.held_folder import HeldFolder

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class HeldFiles:
    """The work_dir and the output file of a run, which no other run writes meanwhile. Open it with ``on``."""

    folder: HeldFolder
    claim: Claim | None
    """On the output file; ``None`` if the run does not write it."""
    _work_dir: Path
    _locks: Sequence[int]
    """The file descriptors that hold the locks."""

    @classmethod
    @asynccontextmanager
    async def on(cls, work_dir: Path, output: Path | None) -> AsyncIterator[Self]:
        """Lock them while the context is open; ``output`` is ``None`` if the run does not write it.

        Raises:
            ConfigError: another run has locked one of them, or its folder cannot be written.
        """
        with ExitStack() as stack:
            locks = [stack.enter_context(locked(work_dir))]
            folder = await asyncio.to_thread(HeldFolder, work_dir)
            claim = stack.enter_context(Claim.on(output, work_dir)) if output else None
            yield cls(folder, claim, work_dir, [*locks, *([claim.lock] if claim else [])])

    async def write_in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write the run's files in a thread. A write finishes, and keeps the locks, also if this task is cancelled.

        Raises:
            RunStopped: the disk refuses.
        """
        held: list[int] = []

        def write() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                for lock in held:
                    os.close(lock)

        try:
            held += [os.dup(lock) for lock in self._locks]
            return await asyncio.to_thread(write)
        except OSError as error:
            where = f"{error.filename or self._work_dir}: {error.strerror or error}"
            raise RunStopped(where, hint=f"{fix_hint(error)}; nothing acknowledged is lost.") from error
