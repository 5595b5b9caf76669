"""A run's claim on the file of its training data: it replaces only what its own work_dir wrote.

The work_dir keeps the digest of what it wrote (``output.json``), so the file stays its own where both were moved. The
digest is kept before the file appears: after a crash between the two, the old file is still known as well. A lock next
to the file keeps two runs from writing it at once, also two of one process.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct, structs

from weak2wise.access import refusal
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import make_private, replacing, write_atomic
from weak2wise.outputs.summary import Summary
from workers.method import METHOD

_RECORD = "output.json"
_ADVICE = "choose another dataset.finetune_out, or move the file away"


class _Written(Struct, frozen=True):
    """What a work_dir wrote last: where it was itself, where the file was, and the digests that the file may have."""

    folder: str
    output: str
    sha256: tuple[str, ...]


class Claim:
    """The claim of one run on its output file. Open it with ``on``."""

    def __init__(self, output: Path, work_dir: Path, lock: int) -> None:
        self.lock = lock
        """The file descriptor that holds the lock. Duplicate it to keep the lock for longer."""
        self._output = output
        self._work_dir = work_dir
        self._seen: tuple[int, ...] | None = None
        self._digest: str | None = None

    @classmethod
    @contextmanager
    def on(cls, output: Path, work_dir: Path) -> Iterator[Self]:
        """Claim the file for a run while the context is open. Call ``check`` before the run pays for anything.

        Raises:
            ConfigError: its folder cannot be written, or another run has claimed it.
        """
        try:
            make_private(output.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(output.with_name(f".{output.name}.lock"), flags, 0o600)
        except OSError as error:
            why = refusal(output.parent, error)
            raise ConfigError(f"{output.parent}: cannot be written: {why} (dataset.finetune_out)") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"{output}: another run is about to write it; choose another (dataset.finetune_out)"
                ) from None
            except OSError:
                pass  # a file system without locks: ``write`` still sees what another run has written
            yield cls(output, work_dir, lock)
        finally:
            os.close(lock)

    def check(self) -> None:
        """Check that the file is this work_dir's, or is not there. Blocks: reads the whole file.

        Raises:
            ConfigError: it is not, or cannot be read.
        """
        check_owner(self._output, self._work_dir)
        self._seen = _stat(self._output)
        self._digest = _digest(self._output)

    def write(self, chunks: Iterable[bytes]) -> None:
        """Replace the file, atomically. Blocks; raises ``OSError``.

        Raises:
            ConfigError: somebody else has changed the file since ``check``.
        """
        if _stat(self._output) != self._seen:
            raise ConfigError(
                f"{self._output}: somebody else has written it since this run started. All results are kept in "
                f"{self._work_dir}: {_ADVICE}, then start the run again"
            )
        sha = hashlib.sha256()
        with replacing(self._output) as file:
            for chunk in chunks:
                sha.update(chunk)
                file.write(chunk)
            self._note(self._digest, sha.hexdigest())
        self._note(sha.hexdigest())
        self._seen, self._digest = _stat(self._output), sha.hexdigest()

    def _note(self, *digests: str | None) -> None:
        """Keep the digests that the file may have from now on."""
        known = tuple(filter(None, digests))
        record = _Written(str(self._work_dir.resolve()), str(self._output.resolve()), known)
        # Not by msgspec: a path need not be UTF-8.
        write_atomic(self._work_dir / _RECORD, [json.dumps(structs.asdict(record)).encode(), b"\n"])


def check_owner(output: Path, work_dir: Path) -> None:
    """Check that a run in this work_dir may replace its output file. Blocks: reads the whole file.

    Raises:
        ConfigError: the file is there and no run of this work_dir wrote it, or it cannot be read.
    """
    if not _stat(output) or output.stat().st_size == 0:
        return
    record = _record(work_dir)
    if record is None:
        own = _wrote_before(output, work_dir)
    else:
        own = _digest(output) in record.sha256 and _is_at_its_place(output, work_dir, record)
    if not own:
        raise ConfigError(
            f"{output}: exists, and no run in {work_dir} wrote it as it is now; {_ADVICE} (dataset.finetune_out)"
        )


def check_work_dir(work_dir: Path) -> None:
    """Check that the files which a run leaves in its work_dir replace nothing but those of an earlier run.

    Raises:
        ConfigError: the folder holds no run, but a file of such a name.
    """
    if any((work_dir / name).exists() for name in ("manifest.json", "ledger", "parts", _RECORD)):
        return
    for name in (*(step.file for step in METHOD[:-1]), "failed.jsonl", "summary.json"):
        if (work_dir / name).exists():
            raise ConfigError(
                f"{work_dir / name}: exists, and the folder holds no run that wrote it; move it away, or choose "
                "another dataset.work_dir"
            )


def _is_at_its_place(output: Path, work_dir: Path, record: _Written) -> bool:
    """Whether a file with the right content is the one that was written, or moved with its work_dir, and not a copy."""
    same, before = str(output.resolve()) == record.output, Path(record.folder)
    if not (before / _RECORD).exists():
        return True  # the work_dir was moved, and its output with it or not
    if before.samefile(work_dir):
        return same or not Path(record.output).exists()
    return not same  # the work_dir is a copy: the file is still the first one's, a copy of the file is its own


def _wrote_before(output: Path, work_dir: Path) -> bool:
    """Whether a run of an earlier version, which kept no digest, wrote the file, and nobody since."""
    path = work_dir / "summary.json"
    with suppress(OSError, msgspec.DecodeError):
        summary = msgspec.json.decode(path.read_bytes(), type=Summary)
        same = summary.through == METHOD[-1].name and Path(summary.output).resolve() == output.resolve()
        return same and output.stat().st_mtime_ns <= path.stat().st_mtime_ns
    return False


def _record(work_dir: Path) -> _Written | None:
    path = work_dir / _RECORD
    try:
        return msgspec.convert(json.loads(path.read_bytes()), _Written)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; restore it, or remove it and {_ADVICE}") from None


def _stat(path: Path) -> tuple[int, ...] | None:
    """What changes with a file; ``None`` if there is none."""
    try:
        found: Any = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str | None:
    """The SHA-256 of a file; ``None`` if there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)} (dataset.finetune_out)") from None
