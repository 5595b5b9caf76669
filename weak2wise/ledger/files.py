"""Atomic file writes, and the lock that allows only one engine per work_dir."""

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from weak2wise.errors import ConfigError


def fix_hint(error: OSError) -> str:
    """What the user can do about a file that cannot be written."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "Make room on the disk"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "Make it writable"
        case errno.EISDIR | errno.ENOTDIR | errno.ENOTEMPTY:
            return "Move what is at that path somewhere else"
        case _:
            return "Fix the disk"


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to the owner only. Raises ``OSError``."""
    for path in [*reversed(folder.parents), folder]:
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Fsync a folder, so that its entries survive a power cut. Blocks; raises ``OSError``."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a temporary file, fsync it, rename it to ``path`` and fsync the folder. Blocks; raises ``OSError``."""
    make_private(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.touch(mode=0o600)
        with temporary.open("wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def holder(folder: Path) -> int | None:
    """The id of the process that holds a folder's lock, if any; 0 if it has not written its id. Blocks."""
    for path in (folder / "lock", folder):  # the file may have been deleted
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            said = b"" if path == folder else os.pread(fd, 32, 0).strip()
            return int(said) if said.isdigit() else 0
        except OSError:
            continue
        finally:
            os.close(fd)
    return None


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock a folder for this process; the kernel releases the lock however the process ends.

    The lock is on a file in it, and where the file system can, on the folder too: the file may be deleted meanwhile.

    Yields the file descriptor that holds the lock. Duplicate it to keep the lock for longer: the folder is free once
    the last duplicate is closed.

    Raises:
        ConfigError: the folder cannot be made, written or locked, or another engine holds it.
    """
    try:
        make_private(folder)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        folder_fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror} (dataset.work_dir)") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _lock_folder(folder_fd)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            raise ConfigError(
                f"{folder}: in use by another engine (process {holder or 'unknown'}); wait for it, or choose another "
                "folder (dataset.work_dir)"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{folder}: its file system cannot lock files ({error.strerror}), so two engines could write there at "
                "once; choose a folder on another one (dataset.work_dir)"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)
        os.close(folder_fd)


def _lock_folder(fd: int) -> None:
    """Lock a folder, unless its file system locks only files. Raises ``BlockingIOError`` if another engine has."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass
