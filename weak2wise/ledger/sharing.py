"""Shares shards with another folder, so that both have all lines and the disk has them once.

A full shard is never written again: not by a run, which appends to the last one, and not by a repair, which makes a new
file. So it gets a second name, a hard link. The last shard is copied. Both folders then stand alone: either may be
deleted, moved to another machine or go on. Where the file system cannot link, full shards are copied, too.
"""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from weak2wise.ledger.files import make_private, sync_folder
from weak2wise.ledger.index import index_path
from weak2wise.ledger.reading import shard_numbers, shard_path

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_CHUNK = 1 << 20


class Shared(Struct):
    """Bytes that two folders share, and bytes that were copied."""

    linked: int = 0
    copied: int = 0

    def shards(self, source: Path, target: Path) -> None:
        """Share the shards of a folder, as they are now, and their indexes; ``target`` is new. Blocks.

        Another process may be appending to the source: what it has not finished is left out, as is a torn end.

        Raises:
            OSError: a file cannot be read or written.
        """
        if not source.is_dir():
            return
        make_private(target)
        *full, last = shard_numbers(source) or [-1]
        for shard in full:
            self.file(shard_path(source, shard), shard_path(target, shard))
            index = index_path(shard_path(target, shard))
            make_private(index.parent)
            with suppress(FileNotFoundError):
                self.file(index_path(shard_path(source, shard)), index)
        if last >= 0:
            self.copied += _copy_lines(shard_path(source, last), shard_path(target, last))
        sync_folder(target)

    def file(self, source: Path, target: Path) -> None:
        """Share one file that is never written in place. Blocks; raises ``OSError``."""
        try:
            target.hardlink_to(source)
            self.linked += target.stat().st_size
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            shutil.copy2(source, target)  # with the time of its last change, which its index knows
            _sync(target)
            self.copied += target.stat().st_size


def _copy_lines(source: Path, target: Path) -> int:
    """Copy the whole lines of a shard that may be growing; returns their bytes."""
    end = size = 0
    with source.open("rb") as file, target.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        while chunk := file.read(_CHUNK):
            copy.write(chunk)
            if last := chunk.rfind(b"\n") + 1:
                end = size + last
            size += len(chunk)
        copy.truncate(end)
    _sync(target)
    return end


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
