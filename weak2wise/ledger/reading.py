"""Reading the shards of one folder: whole lines, a torn end, and damage. Nothing is changed here.

A *torn* end is what a power cut leaves at the end of the last shard: the beginning of a line, or zeros, up to the
file's end. Everything else that is not a line as it was written is *damage*, and is never passed over in silence.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from weak2wise.errors import ConfigError
from weak2wise.ledger.lines import Damaged, is_torn, packed, verify

_OFFSET_BITS = 40  # a shard may hold a terabyte; 22 bits are left for its number
_NAME = re.compile(r"(\d{5})\.jsonl")

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


class Damage(NamedTuple):
    """A line that is not what was written; ``line`` is 0 and ``text`` empty if the whole shard is missing."""

    path: Path
    line: int
    reason: str
    text: bytes

    def error(self) -> ConfigError:
        """What the user is told, with what to do."""
        what = f"line {self.line} is damaged: {self.reason}" if self.line else self.reason
        return ConfigError(
            f"{self.path}: {what}. Restore the file from a copy; or `weak2wise repair {self.path.parents[2]}` sets "
            "damaged lines aside and says what will be asked again"
        )


OnDamage = Callable[[Damage], object]


def refuse(damage: Damage) -> NoReturn:
    """Stop at damage. Raises ``ConfigError``."""
    raise damage.error()


def shard_path(folder: Path, shard: int) -> Path:
    """The file of a shard."""
    return folder / f"{shard:05d}.jsonl"


def location_of(shard: int, offset: int) -> int:
    """One integer for a place in a folder of shards."""
    return shard << _OFFSET_BITS | offset


def place_of(location: int) -> tuple[int, int]:
    """The shard and the offset of a location."""
    return location >> _OFFSET_BITS, location & ((1 << _OFFSET_BITS) - 1)


def shard_numbers(folder: Path) -> range:
    """The numbers of a folder's shards, from 0 to the highest. Blocks; raises ``OSError``."""
    return range(max((int(found[1]) + 1 for path in folder.iterdir() if (found := _NAME.match(path.name))), default=0))


def read_lines(folder: Path, on_line: OnLine, on_damage: OnDamage = refuse) -> Torn | None:
    """Call ``on_line`` with each whole line's location and text, and ``on_damage`` with what is damaged. Blocks.

    Another process may be appending in the meantime; a line that it has not finished counts as torn.

    Returns:
        The torn end of the last shard, if it has one.

    Raises:
        ConfigError: something is damaged, unless ``on_damage`` does something else about it.
        OSError: the files cannot be read.
    """
    torn = None
    numbers = shard_numbers(folder)
    for shard in numbers:
        path = shard_path(folder, shard)
        if path.exists():
            torn = _read_shard(path, shard, shard == numbers[-1], on_line, on_damage)
        else:
            others = ", ".join(sorted(other.name for other in folder.glob(f"{path.name}?*")))
            on_damage(Damage(path, 0, "the file is missing" + (f"; there is {others}" if others else ""), b""))
    return torn


def _read_shard(path: Path, shard: int, last: bool, on_line: OnLine, on_damage: OnDamage) -> Torn | None:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
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
    return None


def line_number(path: Path, offset: int) -> int:
    """The number of the line at an offset, from 1. Blocks for the whole file up to there; raises ``OSError``."""
    number = 1
    with path.open("rb") as file:
        while offset > 0 and (chunk := file.read(min(offset, 1 << 20))):
            number += chunk.count(b"\n")
            offset -= len(chunk)
    return number
