"""Append-only JSONL in numbered shard files: the only way in which a run writes durable data.

Decisions:

* A line is *acknowledged* once the kernel has it, so it survives any death of this process. ``fsync`` follows within
  ``fsync_seconds``; a power cut may lose the lines of that last group and nothing before it. Each folder loses its own
  last group, so a row may have lost an early outcome and kept a later one: it then continues at the early step.
* Lines that arrive while a write is under way form the next group: one ``write`` for all of them, on a thread.
* A torn last line (written in part) is cut off when the shards are opened, and its work is done again. Nothing is ever
  appended after a torn line. Damage anywhere else is not repaired: it is reported by file and line.
* After the first failed write, acknowledged lines stay and every later append raises ``DiskError``.
"""

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint, make_private, sync_folder

_NAME = re.compile(r"\d{5}\.jsonl")
_OFFSET_BITS = 40  # a shard may hold a terabyte; 22 bits are left for its number

Group = list[tuple[bytes, "asyncio.Future[int]"]]


class DiskError(RunStopped):
    """A write to the disk failed; everything acknowledged before is safe."""


class Shards:
    """A folder of shard files, appended to by one process.

    A line's *location* is one integer, ``shard << 40 | offset``; ``read`` takes it.
    """

    def __init__(self, folder: Path, *, max_bytes: int, fsync_seconds: float) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._fsync_seconds = fsync_seconds
        self._fd = -1
        self._shard = 0
        self._size = 0
        self._dirty = False
        self._failure: DiskError | None = None
        self._waiting: Group = []
        self._writing: asyncio.Future[list[int]] | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"shards-{folder.name}")

    def open(self, on_line: Callable[[int, bytes], None]) -> None:
        """Call ``on_line`` with each whole line's location and text, cut off a torn last line, and prepare to append.

        ``on_line`` raises ``msgspec.DecodeError`` for a line that it cannot read. Blocks; call it on a thread.

        Raises:
            ConfigError: a line that is not at the very end is damaged.
            DiskError: the folder cannot be read or written.
        """
        try:
            make_private(self.folder)
            names = self._names()
            for name in names:
                self._load(name, on_line, last=name == names[-1], repair_tail=True)
            self._use(int(names[-1][:5]) if names else 0)
        except OSError as error:
            raise self._disk_error(error) from error

    def look(self, on_line: Callable[[int, bytes], None]) -> None:
        """As ``open``, but for reading only: nothing is changed, and another process may be appending.

        A torn last line, or one still being written, is left out.
        """
        try:
            names = self._names() if self.folder.is_dir() else []
            for name in names:
                self._load(name, on_line, last=name == names[-1], repair_tail=False)
        except OSError as error:
            raise self._disk_error(error) from error

    def _names(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if _NAME.fullmatch(p.name))

    def _load(self, name: str, on_line: Callable[[int, bytes], None], *, last: bool, repair_tail: bool) -> None:
        shard, path = int(name[:5]), self.folder / name
        good = offset = number = 0
        bad: int | None = None
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if last and not repair_tail and not line.endswith(b"\n"):
                    break
                try:
                    if not line.endswith(b"\n"):
                        raise msgspec.DecodeError("torn")
                    on_line(shard << _OFFSET_BITS | offset, line)
                except msgspec.DecodeError:
                    bad = bad or number
                else:
                    if bad:  # a whole line follows the damage, so it is not a torn last line
                        break
                    good = offset + len(line)
                offset += len(line)
            else:
                if last and bad:
                    if repair_tail:
                        os.truncate(path, good)
                    bad = None
        if bad:
            raise ConfigError(
                f"{path}: line {bad} is damaged; restore the file from a copy, or delete that line to have its work "
                "done again"
            )

    def _use(self, shard: int) -> None:
        """Append to this shard from now on."""
        path = self.folder / f"{shard:05d}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._shard, self._size = shard, os.fstat(self._fd).st_size
        sync_folder(self.folder)

    async def append(self, line: bytes) -> int:
        """Append one line (without its newline) and return its location once the kernel has it.

        If the caller is cancelled while it waits, the line is still appended.

        Raises:
            DiskError: the line may not be on disk, and no later one will be accepted.
        """
        if self._failure:
            raise self._failure
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, future))
        if self._writing is None:
            self._write_waiting()
        return await future

    def _write_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        lines = [line for line, _ in group]
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, lines)
        self._writing.add_done_callback(partial(self._written, group))

    def _written(self, group: Group, writing: "asyncio.Future[list[int]]") -> None:
        self._writing = None
        error = writing.exception()
        if error is None:
            for (_, future), location in zip(group, writing.result(), strict=True):
                if not future.cancelled():
                    future.set_result(location)
            if self._sync_timer is None:
                self._sync_timer = asyncio.get_running_loop().call_later(self._fsync_seconds, self._sync_soon)
            if self._waiting:
                self._write_waiting()
            return
        self._failure = self._failure or self._disk_error(error)
        group += self._waiting
        self._waiting = []
        for _, future in group:
            if not future.cancelled():
                future.set_exception(self._failure)

    def _write(self, lines: list[bytes]) -> list[int]:
        locations = []
        start = 0
        for end, line in enumerate(lines):
            if self._size and self._size + len(line) >= self._max_bytes:
                self._flush(lines[start:end])
                start = end
                self._sync()
                os.close(self._fd)
                self._use(self._shard + 1)
            locations.append(self._shard << _OFFSET_BITS | self._size)
            self._size += len(line) + 1
        self._flush(lines[start:])
        return locations

    def _flush(self, lines: list[bytes]) -> None:
        data = memoryview(b"".join(line + b"\n" for line in lines))
        self._dirty = self._dirty or bool(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def _sync_soon(self) -> None:
        self._sync_timer = None
        self._thread.submit(self._sync_quietly)

    def _sync_quietly(self) -> None:
        try:
            self._sync()
        except OSError as error:  # the next append or the close reports it
            self._failure = self._failure or self._disk_error(error)

    def _sync(self) -> None:
        if self._dirty:
            os.fsync(self._fd)
            self._dirty = False

    def read(self, location: int) -> bytes:
        """The line at a location, without its newline. Blocks for one small read."""
        path = self.folder / f"{location >> _OFFSET_BITS:05d}.jsonl"
        with path.open("rb") as file:
            file.seek(location & ((1 << _OFFSET_BITS) - 1))
            return file.readline().rstrip(b"\n")

    async def close(self) -> None:
        """Wait for the last group, fsync and close.

        Raises:
            DiskError: a write or the last fsync failed.
        """
        while self._writing is not None:
            await asyncio.wait([self._writing])
        if self._sync_timer:
            self._sync_timer.cancel()
        if self._fd >= 0:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync_quietly)
            os.close(self._fd)
            self._fd = -1
        self._thread.shutdown(wait=False)
        if self._failure:
            raise self._failure

    def _disk_error(self, error: BaseException) -> DiskError:
        reason, what = (error.strerror, fix_hint(error)) if isinstance(error, OSError) else (str(error), "Fix the disk")
        return DiskError(f"{self.folder}: {reason}", hint=f"{what}; nothing acknowledged is lost.")
