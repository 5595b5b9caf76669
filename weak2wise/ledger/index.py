"""The index of a shard: a file of its ``Columns`` beside it, so that a start need not read the shard's lines.

``journal.index/00007`` for ``journal/00007.jsonl``. It is derived: it may be deleted, and is made anew from the lines.
It is believed only if it is whole, by a checksum over all of it, and the shard has the size, the time of its last
change, and the last bytes that it had when the index was made. Otherwise the shard is read line by line.

So a start that goes by an index does not notice damage that leaves size and time alone, such as a bit that the disk has
flipped. A line's own checksum is looked at whenever the line is read: then that damage is refused with file and line.
"""

import os
import sys
from array import array
from contextlib import suppress
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec
from msgspec import Struct
from xxhash import xxh64

from weak2wise.ledger.columns import Columns, Entry, Layout
from weak2wise.ledger.files import replacing

_SUFFIX = ".index"
_TAIL = 4096
"""Bytes at a shard's end that the index knows by their checksum."""
_BLOCK = 4096
"""Lines whose facts are in memory while their shard is written."""
_SEAL = 16
"""Characters of the checksum at the beginning of the file."""


class Stamp(NamedTuple):
    """What changes with a shard: its size, and the time of its last change in nanoseconds."""

    size: int
    changed: int

    @classmethod
    def of(cls, shard: Path) -> "Stamp":
        """That of a shard as it is now. Blocks; raises ``OSError``."""
        found = shard.stat()
        return cls(found.st_size, found.st_mtime_ns)


class _Head(Struct, frozen=True, kw_only=True):
    """The second line of the file; after it come the blocks."""

    layout: str
    byte_order: str
    size: int
    changed: int
    tail: str
    blocks: list[tuple[int, list[str]]]
    """Of each block how many lines it has, and the types of its columns: the lines' sizes first, as in memory."""
    texts: list[str]
    sums: list[Any]


_HEAD = msgspec.json.Decoder(_Head)


def index_path(shard: Path) -> Path:
    """The index's file. Its folder is beside the shards': every file among those is lines."""
    return _folder(shard.parent) / shard.stem


def _folder(shards: Path) -> Path:
    return shards.with_name(f"{shards.name}{_SUFFIX}")


class Writer:
    """Makes the index of one shard while that is written.

    Only the facts of the last lines are in memory; those before them are in a temporary file. If the disk refuses, no
    index is made: without one the shard's lines are read. All functions block.

    Args:
        shards: the folder of the shard.
        columns: the facts of the lines that are there already; they are taken away.
    """

    def __init__(self, shards: Path, columns: Columns) -> None:
        self._folder = _folder(shards)
        self._columns = columns
        self._file: BinaryIO | None = None
        self._refused = False
        self._seal = xxh64()
        self._size = 0
        """Bytes of the lines in the temporary file."""
        self._blocks: list[tuple[int, list[str]]] = []

    def add(self, size: int, entry: Entry) -> None:
        """Add the facts of the next line, of ``size`` bytes."""
        self._columns.add(size, entry)
        if len(self._columns) >= _BLOCK:
            self._put_away()

    def save(self, shard: Path, stamp: Stamp | None = None) -> None:
        """Write the index, atomically, or leave it.

        ``stamp``: taken before the lines were read; ``None``: nobody but the caller can have changed the shard.
        """
        self._put_away()
        with suppress(OSError):
            self._write(shard, stamp or Stamp.of(shard))

    def close(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            if self._file:
                self._file.close()

    def _put_away(self) -> None:
        self._blocks.append((len(self._columns), self._columns.types))
        self._size += sum(self._columns.sizes)
        taken = self._columns.take()
        try:
            if self._file is None:
                self._folder.mkdir(0o700, exist_ok=True)  # alone: a work_dir that was moved is not made again
                self._file = cast("BinaryIO", TemporaryFile(dir=self._folder))  # noqa: SIM115 - closed by ``close``
            for column in taken:
                self._seal.update(column)
                column.tofile(self._file)
        except OSError:
            self._refused = True

    def _write(self, shard: Path, stamp: Stamp) -> None:
        if self._file is None or self._refused or self._size != stamp.size:
            return  # more, or less, is there than these lines
        head = msgspec.json.encode(
            _Head(
                layout=self._columns.layout.name,
                byte_order=sys.byteorder,
                size=stamp.size,
                changed=stamp.changed,
                tail=_tail(shard, stamp.size),
                blocks=self._blocks,
                texts=self._columns.texts,
                sums=self._columns.sums,
            )
        )
        self._seal.update(head)
        with replacing(index_path(shard)) as file:
            file.writelines((self._seal.hexdigest().encode(), b"\n", head, b"\n"))
            self._file.seek(0)
            copyfileobj(self._file, file)


def load(shard: Path, layout: Layout) -> Columns | None:
    """The columns in a shard's index; ``None`` if there is none that can be believed. Blocks."""
    try:
        with index_path(shard).open("rb") as file:
            return _read(file, shard, layout)
    except (OSError, EOFError, ValueError, TypeError, OverflowError, MemoryError):
        return None


def _read(file: BinaryIO, shard: Path, layout: Layout) -> Columns | None:
    seal, line = file.readline(_SEAL + 1), file.readline()
    head = _HEAD.decode(line)
    stamp = Stamp(head.size, head.changed)
    if head.layout != layout.name or head.byte_order != sys.byteorder or Stamp.of(shard) != stamp:
        return None
    if head.tail != _tail(shard, head.size):
        return None
    found, stored = xxh64(), Columns(layout)
    for lines, types in head.blocks:
        block = []
        for code in types:
            column = array(code)
            column.fromfile(file, lines)
            found.update(column)
            block.append(column)
        stored.extend(block)
    found.update(line[:-1])
    if seal != found.hexdigest().encode() + b"\n" or file.read(1):
        return None
    stored.counted(head.texts, head.sums)
    return stored


def _tail(shard: Path, size: int) -> str:
    with shard.open("rb") as file:
        return xxh64(os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))).hexdigest()


def remove_unfinished(shards: Path) -> None:
    """Remove what writers of the indexes of a folder's shards left that were killed, where that can be done. Blocks."""
    for path in _folder(shards).glob(".*"):
        with suppress(OSError):
            path.unlink()
