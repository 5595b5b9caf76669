"""What a work_dir can do without, and how it is deleted. Nothing that a resume, report, export or training reads.

Most of it are the answers of questions that are finished. Their texts go; a line of the journal stays for each, with
tokens and cost, so that costs, caps and reports say the same as before. Every shard is written anew and then takes the
old one's place, so being killed in between loses nothing, and a fork that shares the old shard keeps it.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, structs

from weak2wise.errors import ConfigError
from weak2wise.ledger.epochs import ledger_folders
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.lines import Damaged, sealed, verify
from weak2wise.ledger.manifest import SET_ASIDE
from weak2wise.ledger.reading import shard_numbers, shard_path
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.batch.requests_file import askers_in, file_of
from weak2wise.llm.journal import REMOVED, Answer
from weak2wise.llm.model import Completion
from weak2wise.outputs.work_dir import WorkDir
from workers.method import last_asking

Kind = Literal["answers", "earlier", "logs", "temporary"]
_ANSWER = msgspec.json.Decoder(Answer)
_ENCODER = msgspec.json.Encoder()
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
_OLDER_LOG = re.compile(r"run\.log\.([2-9]|\d\d+)")
"""Not the newest of them: it may have how the run ended."""
_STILL_SECONDS = 120.0
"""How long the files of a run in parts must have been left alone: a host may outlive its driver for a minute."""


class Item(Struct, frozen=True):
    """Something to delete: a file, a folder, or the texts of finished questions' answers in a shard of the journal.

    ``size``: bytes that are freed. ``shared``: a fork has the file too, so they are freed once it is deleted there.
    """

    kind: Kind
    path: Path
    size: int
    count: int = 1
    shared: bool = False


def garbage(work_dir: Path) -> list[Item]:
    """All that may be deleted. Changes nothing. Blocks; the caller holds the work_dir's lock.

    Raises:
        ConfigError: there is no run, a file is damaged, or hosts may still be writing.
        DiskError, OSError: the files cannot be read.
    """
    work = WorkDir(work_dir)
    if work.manifest.partition is not None:
        _check_still(work_dir)
    finished = _finished(work)
    found = list(_files(work_dir))
    for shard in _journal_shards(work_dir):
        before = after = count = 0
        for line, new in _emptied(shard, finished):
            before, after, count = before + len(line), after + len(new), count + (line is not new)
        if count:
            found.append(Item("answers", shard, before - after, count, shared=shard.stat().st_nlink > 1))
    return found


def delete(work_dir: Path, items: Iterable[Item]) -> None:
    """Delete what ``garbage`` has found; files first, as rewriting a shard needs some room. Blocks.

    Raises:
        OSError: something cannot be deleted or written.
    """
    answers = []
    for item in items:
        if item.kind == "answers":
            answers.append(item)
        elif item.path.is_dir():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)
    if answers:
        finished = _finished(WorkDir(work_dir))
        for item in answers:
            write_atomic(item.path, (new for _, new in _emptied(item.path, finished)))


Finished = Callable[[str, int], bool]
"""Whether a row needs no answer of a role any more."""


def _finished(work: WorkDir) -> Finished:
    """By the rule that a start goes by (``RunStore.past``): it does not even index these answers."""
    batches = BatchRecord.seen(work.folder).states()
    asked = {asker.row for state in batches for asker in askers_in(file_of(work.folder, state.key))}

    @cache
    def past(role: str) -> bytes:
        try:
            return work.account.past(last_asking(role).name)
        except ValueError:  # of another method
            return b""

    def finished(role: str, row: int) -> bool:
        rows = past(role)
        return row not in asked and row < len(rows) and bool(rows[row])

    return finished


def _journal_shards(work_dir: Path) -> Iterator[Path]:
    for ledger in (work_dir / "ledger", *ledger_folders(work_dir)):
        folder = ledger / "journal"
        for number in shard_numbers(folder) if folder.is_dir() else ():
            if (path := shard_path(folder, number)).exists():
                yield path


def _emptied(shard: Path, finished: Finished) -> Iterator[tuple[bytes, bytes]]:
    """Each line, and what it is to be; the same object where it stays. What is damaged or torn stays."""
    with shard.open("rb") as file:
        for line in file:
            yield line, _new(line, finished)


def _new(line: bytes, finished: Finished) -> bytes:
    try:
        verify(line)
        answer = _ANSWER.decode(line)
    except (Damaged, msgspec.DecodeError, RecursionError):
        return line
    if answer.key in ("", REMOVED) or not finished(answer.role, answer.row):
        return line
    bare = Completion(text="", usage=answer.completion.usage)
    new = sealed(_ENCODER.encode(structs.replace(answer, key=REMOVED, completion=bare)))
    return new if len(new) < len(line) else line


def _files(work_dir: Path) -> Iterator[Item]:
    for path in sorted(work_dir.iterdir()):
        kind: Kind | None = None
        if any(path.name.startswith(f"{name}.before-") for name in SET_ASIDE):
            kind = "earlier"
        elif _OLDER_LOG.fullmatch(path.name):
            kind = "logs"
        if kind:
            yield Item(kind, path, _size(path))
    for folder in (work_dir, work_dir / "ledger", work_dir / "parts"):
        look = folder.iterdir if folder == work_dir else partial(folder.rglob, ".*.tmp")
        for path in sorted(look()) if folder.is_dir() else ():
            if _TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                yield Item("temporary", path, path.stat().st_size)


def _size(path: Path) -> int:
    """What deleting a file or folder frees: what nothing else links to."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(stat.st_size for stat in map(Path.lstat, files) if stat.st_nlink == 1)


def _check_still(work_dir: Path) -> None:
    newest = max((path.stat().st_mtime for path in (work_dir / "parts").rglob("*.jsonl")), default=0.0)
    if (seconds := _STILL_SECONDS - (time.time() - newest)) > 0:
        raise ConfigError(
            f"{work_dir / 'parts'}: was written to just now, and a host that has lost its driver may go on for a "
            f"minute; try again in {seconds:.0f} s"
        )
