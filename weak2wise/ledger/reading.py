"""Reading the shards of one folder: whole lines, a torn end, and damage. Nothing is changed here.

A *torn* end is what a power cut leaves at the end of the last shard: the beginning of a line, or zeros, up to the
file's end. Everything else that is not a line as it was written is *damage*, and is never passed over in silence.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

from weak2wise.errors import ConfigError
from weak2wise.ledger import index
from weak2wise.ledger.columns import Columns, Layout
from weak2wise.ledger.lines import Damaged, is_torn, packed, verify
from weak2wise.ledger.places import location_of

_CHUNK = 1 << 16
_NAME = re.compile(r"(\d{5})\.jsonl")

OnShard = Callable[[int, Columns], object]
"""Takes a shard's number and the facts of its lines."""
OnLine = Callable[[int, bytes], object]
"""Takes a line's location and text; raises ``ValueError`` (``msgspec.DecodeError`` is one) for a line that it cannot
read."""
UNREADABLE = (ValueError, RecursionError)
"""What a decoder raises for a damaged line; nesting that is too deep is a ``RecursionError``."""


class Torn(NamedTuple):
    """The torn end of a shard: where it begins, and its size in bytes."""

    path: Path
    offset: int
    size: int


class Extent(NamedTuple):
    """A shard that others have written, and how many of its bytes count; ``None``: all lines that are whole."""

    path: Path
    size: int | None


class Damage(NamedTuple):
    """A line that is not what was written; ``line`` is 0 and ``text`` empty if the whole shard is missing."""

    path: Path
    line: int
    reason: str
    text: bytes

    def error(self) -> ConfigError:
        """The message for the user, with what to do."""
        folder = next((above.parent for above in self.path.parents if above.name == "parts"), self.path.parents[2])
        what = f"line {self.line} is damaged: {self.reason}" if self.line else self.reason
        return ConfigError(
            f"{self.path}: {what}. Restore the file from a copy; or `weak2wise repair {folder}` sets "
            "damaged lines aside and says what will be asked again"
        )


OnDamage = Callable[[Damage], object]


def refuse(damage: Damage) -> NoReturn:
    """Stop at damage. Raises ``ConfigError``."""
    raise damage.error()


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"{shard:05d}.jsonl"


def shard_numbers(folder: Path) -> range:
    """The numbers of a folder's shards, from 0 to the highest. Blocks; raises ``OSError``."""
    return range(max((int(found[1]) + 1 for path in folder.iterdir() if (found := _NAME.match(path.name))), default=0))


def read_lines(folder: Path, on_line: OnLine, on_damage: OnDamage = refuse, *, base: int = 0) -> Torn | None:
    """Call ``on_line`` with each whole line's location and text, and ``on_damage`` with what is damaged. Blocks.

    Another process may be appending in the meantime; a line that it has not finished counts as torn. ``base`` is added
    to the number of each shard.

    Returns:
        The torn end of the last shard, if it has one.

    Raises:
        ConfigError: something is damaged, unless ``on_damage`` does something else about it.
        OSError: the files cannot be read.
    """
    torn = None
    for shard, path, last in _shards(folder, on_damage):
        torn = _read_shard(path, shard + base, on_line, on_damage, last=last)
    return torn


def read_facts(
    folder: Path, layout: Layout, on_shard: OnShard, *, rebuild: bool, base: int = 0
) -> tuple[Columns | None, Torn | None]:
    """Call ``on_shard`` for each shard, by its index where that can be believed, else by its lines. Blocks.

    Another process may be appending in the meantime.

    Args:
        folder: the shards.
        layout: which facts of the lines.
        on_shard: takes them; only those of one shard are in memory at once.
        rebuild: write the index of each full shard that has none; no other process is writing here.
        base: added to the number of each shard.

    Returns:
        The facts of the last shard's lines, and its torn end; ``None`` if there is none.

    Raises:
        ConfigError: something is damaged in what was read.
        OSError: the files cannot be read.
    """
    columns = torn = None
    for shard, path, last in _shards(folder, refuse):
        columns = None  # those of the shard before
        columns, stamp = index.load(path, layout), None
        if columns is None:
            columns, stamp = Columns(layout), index.Stamp.of(path)
            torn = _read_shard(path, shard, partial(_note_facts, columns), refuse, last=last)
        on_shard(shard + base, columns)
        if stamp and rebuild and not last:
            with closing(index.Writer(folder, columns)) as writer:
                writer.save(path, stamp)
    return columns, torn


def read_extents_lines(extents: Sequence[Extent], on_line: OnLine, on_damage: OnDamage = refuse) -> None:
    """``read_lines`` of what counts of others' shards, numbered from 0 in this order."""
    for shard, extent in enumerate(extents):
        _read_extent(extent, shard, on_line, on_damage)


def read_extents(extents: Sequence[Extent], layout: Layout, on_shard: OnShard) -> None:
    """``read_facts`` of what counts of others' shards, numbered from 0 in this order; nothing of theirs is changed."""
    for shard, extent in enumerate(extents):
        columns = index.load(extent.path, layout)
        if columns is None or extent.size not in (None, sum(columns.sizes)):
            columns = Columns(layout)
            _read_extent(extent, shard, partial(_note_facts, columns), refuse)
        on_shard(shard, columns)


def whole_size(shard: Path) -> int:
    """How many bytes of a shard are whole lines; another process may be appending. Blocks.

    Raises:
        ConfigError: what follows them is not what a power cut leaves, nor the beginning of a line.
        OSError: it cannot be read.
    """
    with shard.open("rb") as file:
        size = end = file.seek(0, 2)
        whole = 0
        while end and not whole:
            begin = max(0, end - _CHUNK)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n") + 1
            whole, end = begin + found if found else 0, begin
        file.seek(whole)
        if (rest := file.read(size - whole)) and not is_torn(rest):
            refuse(Damage(shard, line_number(shard, whole), "it has no end", rest))
    return whole


def _note_facts(columns: Columns, _location: int, line: bytes) -> None:
    columns.add(len(line), columns.layout.read(line))


def _shards(folder: Path, on_damage: OnDamage) -> Iterator[tuple[int, Path, bool]]:
    """The number and file of each shard, and whether it is the last; ``on_damage`` gets those that are missing."""
    numbers = shard_numbers(folder)
    for shard in numbers:
        path = shard_path(folder, shard)
        if path.exists():
            yield shard, path, shard == numbers[-1]
        else:
            others = ", ".join(sorted(other.name for other in folder.glob(f"{path.name}?*")))
            on_damage(Damage(path, 0, "the file is missing" + (f"; there is {others}" if others else ""), b""))


def _read_extent(extent: Extent, shard: int, on_line: OnLine, on_damage: OnDamage) -> None:
    if extent.path.exists():
        _read_shard(extent.path, shard, on_line, on_damage, last=extent.size is None, size=extent.size)
    else:
        on_damage(Damage(extent.path, 0, "the file is missing", b""))


def _read_shard(
    path: Path, shard: int, on_line: OnLine, on_damage: OnDamage, *, last: bool, size: int | None = None
) -> Torn | None:
    """``size``: how many of its bytes count; ``None``: all."""
    offset = number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if size is not None and offset >= size:
                return None
            if not line.endswith(b"\n"):
                if last and is_torn(line):
                    return Torn(path, offset, len(line))
                on_damage(Damage(path, number, packed(line) or "it has no end", line))
                break
            try:
                verify(line)
                on_line(location_of(shard, offset), line)
            except Damaged as damaged:
                on_damage(Damage(path, number, str(damaged), line))
            except UNREADABLE:
                on_damage(Damage(path, number, "it cannot be read as JSON of its kind", line))
            offset += len(line)
    if size is not None and offset < size:
        on_damage(Damage(path, number + 1, f"the file has lost its end: expected {size:,} bytes", b""))
    return None


def line_number(path: Path, offset: int) -> int:
    """The number of the line at an offset, from 1. Blocks for the whole file up to there; raises ``OSError``."""
    number = 1
    with path.open("rb") as file:
        while offset > 0 and (chunk := file.read(min(offset, 1 << 20))):
            number += chunk.count(b"\n")
            offset -= len(chunk)
    return number
