"""Checkpoints of a training: which are complete.

The trainer writes a checkpoint as several files, straight into its folder. One that a kill or a power cut has torn
looks like any other. So a complete one gets a mark as its last file, with the sizes of all others, once they are on the
disk.
"""

import os
import shutil
from pathlib import Path

import msgspec
from msgspec import Struct

from weak2wise.ledger.files import sync_folder, write_atomic

_MARK = "complete.json"
_PREFIX = "checkpoint-"


class Mark(Struct, frozen=True):
    """``seconds``: of training up to here, over all starts. ``files``: the size of each file, by relative path."""

    seconds: float
    files: dict[str, int]


class Checkpoint(Struct, frozen=True):
    """A complete checkpoint."""

    folder: Path
    step: int
    seconds: float


def mark(folder: Path, seconds: float) -> None:
    """Mark a checkpoint as complete, once all of it is on the disk. Blocks; raises ``OSError``."""
    write_atomic(folder / _MARK, [msgspec.json.encode(Mark(seconds, sync_files(folder)))])


def sync_files(folder: Path) -> dict[str, int]:
    """Fsync all that is in a folder; returns the files' sizes, by relative path. Blocks; raises ``OSError``."""
    sizes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sizes[str(path.relative_to(folder))] = path.stat().st_size
    sync_folder(folder)
    return sizes


def last_complete(folder: Path) -> Checkpoint | None:
    """The latest complete checkpoint in a folder; torn ones are removed. Blocks; raises ``OSError``."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit()]
    for path in sorted(found, key=_step, reverse=True):
        read = _read(path)
        if read is not None and all(_size(path / name) == size for name, size in read.files.items()):
            return Checkpoint(path, _step(path), read.seconds)
        shutil.rmtree(path)
    return None


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _read(folder: Path) -> Mark | None:
    try:
        return msgspec.json.decode((folder / _MARK).read_bytes(), type=Mark)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
