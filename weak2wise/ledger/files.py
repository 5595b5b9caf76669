"""Atomic file writes, and the lock that allows only one engine per work_dir."""

import errno
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from weak2wise.access import refusal, rights
from weak2wise.errors import ConfigError

_SUFFIX = ".tmp"
_ASKED_AGAIN, _ASKED_AGAIN_SECONDS = 10, 0.01
"""How often, and after how long, a lock that is held is tried again."""
_RANDOM = re.compile(r"([a-z0-9_]{8}\.)?")
"""What ``tempfile`` puts between the beginning and the end of a name."""


def fix_hint(error: OSError) -> str:
    """What the user can do about a file that cannot be written."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "Make room on the disk, also for the number of files (df -i)"
        case errno.EMFILE | errno.ENFILE:
            return "Allow more open files (ulimit -n)"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            advice = rights(Path(error.filename)) if isinstance(error.filename, str) else ""
            return f"Make it writable: {advice}" if advice else "Make it writable"
        case errno.EISDIR | errno.ENOTDIR | errno.ENOTEMPTY:
            return "Move what is at that path somewhere else"
        case _:
            return "Fix the disk"


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to the owner only. Raises ``OSError``."""
    _make(folder, 0o700)


def _make(folder: Path, mode: int) -> None:
    for path in [*reversed(folder.parents), folder]:
        if not path.exists():
            path.mkdir(mode=mode, exist_ok=True)
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Fsync a folder, so that its entries survive a power cut. Blocks; raises ``OSError``."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, chunks: Iterable[bytes], *, private: bool = True) -> None:
    """Write a file by ``replacing``. Blocks; raises ``OSError``."""
    with replacing(path, private=private) as file:
        file.writelines(chunks)


@contextmanager
def replacing(path: Path, *, private: bool = True) -> Iterator[BinaryIO]:
    """Write a temporary file; if the block ends well, fsync it, rename it to ``path`` and fsync the folder. Blocks.

    Its name is random and it must be new, also not a symbolic link: two writers never share one. It is the owner's
    alone, or if not ``private`` as the umask has it when it is whole, and so are folders that are missing.

    Raises:
        OSError: it cannot be written or renamed.
    """
    _make(path.parent, 0o700 if private else 0o777)
    fd, name = tempfile.mkstemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            if not private:
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _umask() -> int:
    """The umask of this process. It can only be read by setting it, so no other thread may make a file meanwhile."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def is_temporary_of(path: Path, name: str) -> bool:
    """Whether a file name is that of a temporary file of ``path``, also of an earlier version."""
    prefix = _prefix(path)
    middle = name.removeprefix(prefix).removesuffix(_SUFFIX.removeprefix("."))
    return name.startswith(prefix) and name.endswith(_SUFFIX) and _RANDOM.fullmatch(middle) is not None


def remove_temporary(path: Path) -> None:
    """Remove what writers of ``path`` left that were killed. No other may be writing it. Blocks; raises ``OSError``."""
    for other in path.parent.iterdir() if path.parent.is_dir() else ():
        if is_temporary_of(path, other.name):
            other.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    """The beginning of a temporary file's name; a name has at most 255 bytes."""
    return f".{os.fsdecode(os.fsencode(path.name)[:200])}."


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
        raise ConfigError(f"{folder}: cannot be written: {refusal(folder, error)} (dataset.work_dir)") from None
    try:
        try:
            _lock_soon(fd)
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


def _lock_soon(fd: int) -> None:
    """Lock a file; one that only asks who holds it (``holder``) has it for a moment. Raises ``BlockingIOError``."""
    for _ in range(_ASKED_AGAIN):
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_ASKED_AGAIN_SECONDS)
    return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_folder(fd: int) -> None:
    """Lock a folder, unless its file system locks only files. Raises ``BlockingIOError`` if another engine has."""
    try:
        _lock_soon(fd)
    except BlockingIOError:
        raise
    except OSError:
        pass
