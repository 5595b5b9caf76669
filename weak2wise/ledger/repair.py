"""Taking damaged lines out of shards: first they are kept in a file of their own, then the shards are written anew.

A crash in between loses nothing: what is still damaged then is found and kept once more.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from weak2wise.ledger.files import sync_folder, write_atomic
from weak2wise.ledger.reading import Damage


@contextmanager
def kept_in_file(path: Path) -> Iterator[Callable[[Damage], None]]:
    """Yields what writes a damaged line to a file: a JSON line with its file, number, reason, and bytes in base64.

    The file is made when the first line comes, and synced at the end; after an error it does not stay. Blocks; raises
    ``OSError``.
    """
    fd = -1

    def keep(damage: Damage) -> None:
        nonlocal fd
        if fd < 0:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        name = str(damage.path.relative_to(path.parent))
        fields = {"file": name, "line": damage.line, "reason": damage.reason, "bytes": damage.text}
        data = memoryview(msgspec.json.encode(fields) + b"\n")
        while data:
            data = data[os.write(fd, data) :]

    try:
        yield keep
        if fd >= 0:
            os.fsync(fd)
            sync_folder(path.parent)
    except BaseException:
        if fd >= 0:
            path.unlink(missing_ok=True)
        raise
    finally:
        if fd >= 0:
            os.close(fd)


def sizes_without(path: Path, instead: Mapping[int, bytes], sizes: Iterable[int]) -> dict[int, int]:
    """How many bytes the beginnings of a shard have after ``take_out``, by how many they have now. Blocks."""
    after = dict.fromkeys(sizes, 0)
    offset = 0
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                offset += len(line)
                for size in after:
                    if offset <= size:
                        after[size] += len(instead.get(number, line))
    return after


def take_out(path: Path, instead: Mapping[int, bytes]) -> None:
    """Write a shard anew, with other bytes (perhaps none) in the place of some lines, by number from 1.

    A shard that is missing becomes an empty one. Blocks; raises ``OSError``.
    """
    if not path.exists():
        write_atomic(path, [])
        return
    with path.open("rb") as file:
        write_atomic(path, (instead.get(number, line) for number, line in enumerate(file, 1)))
