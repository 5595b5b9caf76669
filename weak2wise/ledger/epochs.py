"""The epochs of a part: each is one holder's, who writes into its folder alone, ``parts/00003/epoch-00002``.

An earlier holder may live on as an orphan and append to its own files for as long as it likes. So before a holder
writes anything, it writes a *seal*: how many bytes of each outcome file of earlier epochs count, which are those that
it has found. What counts of a part is what the highest epoch with a seal has sealed, and its own files. So for every
row and step the outcome of the highest epoch counts, and no row has outcomes that do not belong together.

Answers are not sealed: what an orphan was answered was paid for, and may be used.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.parts import part_folder
from weak2wise.ledger.reading import Extent, shard_numbers, shard_path, whole_size

_NAME = re.compile(r"epoch-(\d{5,})")
_SEAL = "seal.json"
_JOURNAL = "journal"


class Place(NamedTuple):
    """Where the ledgers of a run are: the folder they are written in, what counts of earlier ones, the first row.

    ``earlier``: by the ledger's name.
    """

    folder: Path
    first: int = 0
    earlier: Mapping[str, Sequence[Extent]] = {}


class _Seal(Struct, frozen=True):
    """By ledger, the files that count, relative to the work_dir, with the number of bytes."""

    ledgers: dict[str, list[tuple[str, int]]]


def epoch_folder(work_dir: Path, part: int, epoch: int) -> Path:
    """The folder of one holder."""
    return part_folder(work_dir, part) / f"epoch-{epoch:05d}"


def seal(work_dir: Path, part: int, epoch: int, first: int, ledgers: Sequence[str]) -> Place:
    """Fix what of earlier epochs counts, for good, and return the place of the holder of this epoch.

    Call it once, before anything is written. Blocks.

    Args:
        work_dir: the run's.
        part: the part.
        epoch: the holder's; higher than all before it.
        first: the part's first row.
        ledgers: the names of the ledgers of outcomes.

    Raises:
        ConfigError: a seal before this one is damaged.
        OSError: the files cannot be read or written.
    """
    before = max(earlier for earlier in _epochs(work_dir, part) if earlier < epoch)
    found = {name: list(_sealed(work_dir, part, before, name)) for name in ledgers}
    for name in ledgers:
        folder = _ledger(work_dir, part, before) / name
        numbers = shard_numbers(folder) if folder.is_dir() else range(0)
        found[name] += [_synced(shard_path(folder, number), last=number == numbers[-1]) for number in numbers]
    sealed = {name: [(str(e.path.relative_to(work_dir)), e.size or 0) for e in files] for name, files in found.items()}
    text = msgspec.json.encode(_Seal(sealed))
    write_atomic(epoch_folder(work_dir, part, epoch) / _SEAL, [text, b"\n"])
    answers = answers_of(work_dir, part, but=epoch)
    return Place(_ledger(work_dir, part, epoch), first, {**found, _JOURNAL: answers})


def has_sealed(work_dir: Path, part: int, epoch: int) -> bool:
    """Whether the holder of an epoch has begun. Blocks."""
    return (epoch_folder(work_dir, part, epoch) / _SEAL).exists()


def extents_of(work_dir: Path, part: int, ledgers: Sequence[str]) -> dict[str, list[Extent]]:
    """What counts of a part now, by ledger of outcomes. Another process may be writing. Blocks; raises as ``seal``."""
    latest = max(_epochs(work_dir, part))
    folder = _ledger(work_dir, part, latest)
    return {name: [*_sealed(work_dir, part, latest, name), *_whole(folder / name)] for name in ledgers}


def answers_of(work_dir: Path, part: int, but: int | None = None) -> list[Extent]:
    """The journals of all epochs of a part, ``but`` one. Blocks; raises ``OSError``."""
    epochs = (epoch for epoch in _epochs(work_dir, part) if epoch != but)
    return [shard for epoch in epochs for shard in _whole(_ledger(work_dir, part, epoch) / _JOURNAL)]


def ledger_folders(work_dir: Path) -> list[Path]:
    """The folders of ledgers of all parts and epochs. Blocks."""
    return sorted(work_dir.glob("parts/*/epoch-*/ledger"))


def sealed_files(work_dir: Path) -> dict[Path, set[int]]:
    """The files in all seals, with how many bytes of each count for some epoch. Blocks; raises as ``seal``."""
    found: dict[Path, set[int]] = {}
    for path in work_dir.glob(f"parts/*/epoch-*/{_SEAL}"):
        for files in _read(path).ledgers.values():
            for name, size in files:
                found.setdefault(work_dir / name, set()).add(size)
    return found


def reseal(work_dir: Path, sizes: Mapping[Path, Mapping[int, int]]) -> None:
    """Write the seals anew after files were, by how many bytes count now of each that counted. Blocks; as ``seal``."""
    for path in work_dir.glob(f"parts/*/epoch-*/{_SEAL}"):
        before = _read(path).ledgers
        after = {
            ledger: [(name, sizes.get(work_dir / name, {}).get(size, size)) for name, size in files]
            for ledger, files in before.items()
        }
        if after != before:
            write_atomic(path, [msgspec.json.encode(_Seal(after)), b"\n"])


def _ledger(work_dir: Path, part: int, epoch: int) -> Path:
    """Where the ledgers of an epoch are; epoch 0 of part 0 is the work_dir itself."""
    return (work_dir if part == epoch == 0 else epoch_folder(work_dir, part, epoch)) / "ledger"


def _epochs(work_dir: Path, part: int) -> list[int]:
    """The epochs whose holders have sealed and may have written, ascending; epoch 0 has no seal."""
    folder = part_folder(work_dir, part)
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [0, *(int(m[1]) for name in names if (m := _NAME.fullmatch(name)) and (folder / name / _SEAL).exists())]


def _sealed(work_dir: Path, part: int, epoch: int, name: str) -> list[Extent]:
    """What an epoch's seal says of one ledger."""
    if not epoch:
        return []
    files = _read(epoch_folder(work_dir, part, epoch) / _SEAL).ledgers.get(name, [])
    return [Extent(work_dir / file, size) for file, size in files]


def _read(path: Path) -> _Seal:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Seal)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: cannot be read as a seal: {error}; restore it from a copy") from None


def _synced(shard: Path, *, last: bool) -> Extent:
    """What counts of a shard, on disk before anything is built on it: its whole lines. Only the last may be torn."""
    size = whole_size(shard) if last else shard.stat().st_size
    fd = os.open(shard, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return Extent(shard, size)


def _whole(folder: Path) -> list[Extent]:
    """The shards of a folder; only the last one may have an end that is torn, or still being written."""
    numbers = shard_numbers(folder) if folder.is_dir() else range(0)
    paths = [shard_path(folder, number) for number in numbers]
    full = [Extent(path, path.stat().st_size if path.exists() else None) for path in paths[:-1]]
    return [*full, *(Extent(path, None) for path in paths[-1:])]
