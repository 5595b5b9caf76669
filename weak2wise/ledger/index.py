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
from typing import Any, BinaryIO, NamedTuple

import msgspec
from msgspec import Struct
from xxhash import xxh64

from weak2wise.ledger.columns import Columns, Layout
from weak2wise.ledger.files import replacing

_SUFFIX = ".index"
_TAIL = 4096
"""Bytes at a shard's end that the index knows by their checksum."""
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
    """The second line of the file; after it come the columns, the lines' sizes first, as they are in memory."""

    layout: str
    byte_order: str
    size: int
    changed: int
    tail: str
    lines: int
    types: list[str]
    texts: list[str]
    sums: list[Any]


_HEAD = msgspec.json.Decoder(_Head)


def index_path(shard: Path) -> Path:
    """The index's file. Its folder is beside the shards': every file among those is lines."""
    return _folder(shard.parent) / shard.stem


def _folder(shards: Path) -> Path:
    return shards.with_name(f"{shards.name}{_SUFFIX}")


def save(shard: Path, columns: Columns, stamp: Stamp | None = None) -> None:
    """Write a shard's index, atomically, or leave it: without one the shard's lines are read. Blocks.

    ``stamp``: taken before the lines were read; ``None``: nobody but the caller can have changed the shard.
    """
    with suppress(OSError):
        _write(shard, columns, stamp or Stamp.of(shard))


def _write(shard: Path, columns: Columns, stamp: Stamp) -> None:
    if sum(columns.sizes) != stamp.size:
        return  # more, or less, is there than these lines
    stored = [columns.sizes, *columns.columns.values()]
    head = msgspec.json.encode(
        _Head(
            layout=columns.layout.name,
            byte_order=sys.byteorder,
            size=stamp.size,
            changed=stamp.changed,
            tail=_tail(shard, stamp.size),
            lines=len(columns),
            types=[column.typecode for column in stored],
            texts=columns.texts,
            sums=columns.sums,
        )
    )
    seal = xxh64(head)
    for column in stored:
        seal.update(column)
    with replacing(index_path(shard)) as file:
        file.writelines((seal.hexdigest().encode(), b"\n", head, b"\n"))
        for column in stored:
            column.tofile(file)


def load(shard: Path, layout: Layout) -> Columns | None:
    """The columns in a shard's index; ``None`` if there is none that can be believed. Blocks."""
    try:
        with index_path(shard).open("rb") as file:
            return _read(file, shard, layout)
    except (OSError, EOFError, ValueError, OverflowError, MemoryError):
        return None


def _read(file: BinaryIO, shard: Path, layout: Layout) -> Columns | None:
    seal, line = file.readline(_SEAL + 1), file.readline()
    head = _HEAD.decode(line)
    stamp = Stamp(head.size, head.changed)
    if head.layout != layout.name or head.byte_order != sys.byteorder or Stamp.of(shard) != stamp:
        return None
    if len(head.types) != 1 + len(layout.columns) or head.tail != _tail(shard, head.size):
        return None
    found, stored = xxh64(line[:-1]), []
    for code in head.types:
        column = array(code)
        column.fromfile(file, head.lines)
        found.update(column)
        stored.append(column)
    if seal != found.hexdigest().encode() + b"\n" or file.read(1):
        return None
    return Columns.stored(layout, stored, head.texts, head.sums)


def _tail(shard: Path, size: int) -> str:
    with shard.open("rb") as file:
        return xxh64(os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))).hexdigest()


def remove_unfinished(shards: Path) -> None:
    """Remove what writers of the indexes of a folder's shards left that were killed, where that can be done. Blocks."""
    for path in _folder(shards).glob(".*"):
        with suppress(OSError):
            path.unlink()
