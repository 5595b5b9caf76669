"""Append-only JSONL in numbered shard files: the only way in which a run writes durable data.

Decisions:

* A line is *acknowledged* once the kernel has it, so it survives any death of this process. ``fsync`` follows within
  ``fsync_seconds``; a power cut may lose the lines of that last group and nothing before it. Each folder loses its own
  last group, so a row may have lost an early outcome and kept a later one: it then continues at the early step.
  With ``fsync_seconds`` 0, a line is acknowledged after the ``fsync``, and a power cut loses none.
* Lines that arrive while a write is under way form the next group: one ``write`` for all of them, on a thread.
* A torn end is cut off when the shards are opened, and its work is done again. Nothing is ever appended after a torn
  line. All other damage is refused by file and line: ``weak2wise.ledger.repair`` deals with it.
* What is there when the shards are opened is synced first: it may be of a process that was killed before its ``fsync``.
* After the first failed write, acknowledged lines stay and every later append raises ``DiskError``.
* The facts of each line are noted as it is written, so that a full shard's index costs no second reading. The last
  shard gets one when the shards are closed; after a crash its lines are read.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger import index
from weak2wise.ledger.blocks import Blocks
from weak2wise.ledger.columns import Columns, Entry, Layout
from weak2wise.ledger.files import fix_hint, make_private, sync_folder
from weak2wise.ledger.lines import HEAD, Damaged, head_of, verify
from weak2wise.ledger.places import location_of, place_of
from weak2wise.ledger.reading import (
    UNREADABLE,
    Damage,
    Extent,
    OnDamage,
    OnLine,
    OnShard,
    Torn,
    line_number,
    read_extents,
    read_extents_lines,
    read_facts,
    read_lines,
    refuse,
    shard_numbers,
    shard_path,
)

T = TypeVar("T")
Group = list[tuple[bytes, Entry, "asyncio.Future[int]"]]


class DiskError(RunStopped):
    """A write to the disk failed; everything acknowledged before is safe."""


READ_ONLY: dict[str, Any] = {"max_bytes": 0, "fsync_seconds": 0}
"""The options of shards, ledgers and a journal to which nothing is added."""


class Shards:
    """A folder of shard files, appended to by one process.

    A line is given without its checksum, which is added here; it is an object of JSON that is not empty. Its *location*
    is one integer, for ``read``. ``layout`` says which facts of each line the index keeps. ``earlier``: shards of
    others, whose lines come before those of the folder; they are only read.
    """

    def __init__(
        self, folder: Path, layout: Layout, *, max_bytes: int, fsync_seconds: float, earlier: Sequence[Extent] = ()
    ) -> None:
        self.folder = folder
        self._earlier = earlier
        self._layout = layout
        self._index = index.Writer(folder, Columns(layout))
        """Of the shard that is written."""
        self._max_bytes = max_bytes
        self._fsync_seconds = fsync_seconds
        self._fd = -1
        self._shard = 0
        self._size = 0
        self._dirty = False
        self.cut: Torn | None = None
        """The torn end that ``open`` has cut off."""
        self._failure: DiskError | None = None
        self._waiting: Group = []
        self._writing: asyncio.Future[list[int]] | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"shards-{folder.name}")

    def open(self, on_shard: OnShard) -> None:
        """Call ``on_shard`` with the facts of each shard's lines, cut off a torn end, and prepare to append.

        Blocks; call it on a thread.

        Raises:
            ConfigError: the shards are damaged.
            DiskError: the folder cannot be read or written.
        """
        try:
            make_private(self.folder)
            index.remove_unfinished(self.folder)
            base = len(self._earlier)
            read_extents(self._earlier, self._layout, on_shard)
            columns, self.cut = read_facts(self.folder, self._layout, on_shard, rebuild=True, base=base)
            if columns is not None:
                self._index = index.Writer(self.folder, columns)
            self._shard = max(0, len(shard_numbers(self.folder)) - 1)
            if self.cut:
                os.truncate(self.cut.path, self.cut.offset)
            self._fd = self._opened(self._shard)
            self._size = os.fstat(self._fd).st_size
            self._dirty = True
            self._sync()
        except OSError as error:
            raise self._disk_error(error) from error

    def look(self, on_shard: OnShard) -> None:
        """As ``open``, but for reading only: nothing is changed, and another process may be appending."""
        try:
            read_extents(self._earlier, self._layout, on_shard)
            if self.folder.is_dir():
                read_facts(self.folder, self._layout, on_shard, rebuild=False, base=len(self._earlier))
        except OSError as error:
            raise self._disk_error(error) from error

    def lines(self, on_line: OnLine, on_damage: OnDamage = refuse) -> None:
        """Read every line: call ``on_line`` with its location and text, and ``on_damage`` with what is damaged.

        Blocks, and changes nothing. Raises as ``open``.
        """
        try:
            read_extents_lines(self._earlier, on_line, on_damage)
            if self.folder.is_dir():
                read_lines(self.folder, on_line, on_damage, base=len(self._earlier))
        except OSError as error:
            raise self._disk_error(error) from error

    def damaged(self, shard: int, number: int, reason: str) -> ConfigError:
        """The error for a line, by its number in the shard from 0, that cannot be what was written."""
        return Damage(self._path(shard), number + 1, reason, b"").error()

    def _path(self, shard: int) -> Path:
        """The file of a shard, by its number in locations: those of others first."""
        own = shard - len(self._earlier)
        return self._earlier[shard].path if own < 0 else shard_path(self.folder, own)

    def _opened(self, shard: int) -> int:
        """The file descriptor to append to a shard with. Raises ``OSError``, and then leaves none open."""
        fd = os.open(shard_path(self.folder, shard), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            sync_folder(self.folder)
        except OSError:
            os.close(fd)
            raise
        return fd

    async def append(self, line: bytes, entry: Entry) -> int:
        """Append one line (without its newline) with its facts and return its location once the kernel has it.

        If the caller is cancelled while it waits, the line is still appended.

        Raises:
            DiskError: the line may not be on disk, and no later one will be accepted.
        """
        if self._failure:
            raise self._failure
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, entry, future))
        if self._writing is None:
            self._write_waiting()
        return await future

    def _write_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, group)
        self._writing.add_done_callback(partial(self._written, group))

    def _written(self, group: Group, writing: "asyncio.Future[list[int]]") -> None:
        self._writing = None
        error = writing.exception()
        if error is None:
            for (_, _, future), location in zip(group, writing.result(), strict=True):
                if not future.cancelled():
                    future.set_result(location)
            if self._dirty and self._sync_timer is None:
                self._sync_timer = asyncio.get_running_loop().call_later(self._fsync_seconds, self._sync_soon)
            if self._waiting:
                self._write_waiting()
            return
        self._failure = self._failure or self._disk_error(error)
        group += self._waiting
        self._waiting = []
        for _, _, future in group:
            if not future.cancelled():
                future.set_exception(self._failure)

    def _write(self, group: Group) -> list[int]:
        locations = []
        parts: list[bytes] = []
        for line, entry, _ in group:
            size = HEAD + len(line)  # the line break is in the place of the brace
            if self._size and self._size + size > self._max_bytes:
                self._flush(parts)
                parts = []
                self._begin_shard()
            rest = line[1:]
            parts += (head_of(rest), rest, b"\n")
            locations.append(location_of(len(self._earlier) + self._shard, self._size))
            self._index.add(size, entry)
            self._size += size
        self._flush(parts)
        if not self._fsync_seconds:
            self._sync()
        return locations

    def _begin_shard(self) -> None:
        """Go on in the next shard. If it cannot be made, the present one stays open, for ``close``."""
        self._sync()
        fd = self._opened(self._shard + 1)
        self._save_index()
        self._index.close()
        full, self._fd, self._shard, self._size = self._fd, fd, self._shard + 1, 0
        self._index = index.Writer(self.folder, Columns(self._layout))
        os.close(full)

    def _save_index(self) -> None:
        """Write the index of the present shard, which is synced."""
        self._index.save(shard_path(self.folder, self._shard))

    def _flush(self, parts: list[bytes]) -> None:
        data = memoryview(b"".join(parts))
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

    def _finish(self) -> None:
        self._sync_quietly()
        if not self._failure:
            self._save_index()
        self._index.close()

    def _sync(self) -> None:
        if self._dirty:
            os.fsync(self._fd)
            self._dirty = False

    def read(self, location: int, decode: Callable[[bytes], T]) -> T:
        """The decoded line at a location. Blocks for one small read.

        Raises:
            ConfigError: the line is damaged.
            DiskError: it cannot be read.
        """
        path, offset = self._file_of(location)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return self._decoded(location, file.readline(), decode)
        except OSError as error:
            raise self._disk_error(error) from error

    def read_all(self, locations: Iterable[int], decode: Callable[[bytes], T]) -> Iterator[T]:
        """The decoded lines at locations that lie near each other, while nothing is appended. Raises as ``read``."""
        blocks = Blocks(self._path)
        try:
            for location in locations:
                yield self._decoded(location, blocks.line(location), decode)
        except OSError as error:
            raise self._disk_error(error) from error

    def _decoded(self, location: int, line: bytes, decode: Callable[[bytes], T]) -> T:
        try:
            verify(line)
            return decode(line)
        except UNREADABLE as error:
            path, offset = self._file_of(location)
            reason = str(error) if isinstance(error, Damaged) else "it cannot be read as JSON of its kind"
            raise Damage(path, line_number(path, offset), reason, line).error() from None

    def _file_of(self, location: int) -> tuple[Path, int]:
        shard, offset = place_of(location)
        return self._path(shard), offset

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
            await asyncio.get_running_loop().run_in_executor(self._thread, self._finish)
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:  # closed all the same
                self._failure = self._failure or self._disk_error(error)
        self._thread.shutdown(wait=False)
        if self._failure:
            raise self._failure

    def _disk_error(self, error: BaseException) -> DiskError:
        reason, what = (error.strerror, fix_hint(error)) if isinstance(error, OSError) else (str(error), "Fix the disk")
        return DiskError(f"{self.folder}: {reason}", hint=f"{what}; nothing acknowledged is lost.")
