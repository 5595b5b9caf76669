"""A disk that forgets what was not synced, across all files of a folder at once.

``recorded`` notes in a log of its own every fsync of a file (its size) and of a folder (its entries), in the order in
which they were done, and what the program says in between (``Recorder.note``). Hard links keep every file alive that a
folder's entry has ever led to. ``restore`` then makes, for any moment in that log, the folder that a power cut at that
moment leaves behind: files and names as they were last synced, and of what came after them nothing, a part, or zeros.

It relies on what all our files have in common: they grow at the end, and are never written in place.

``python -m tests.ledger.power_cut FOLDER LOG run --config …`` is the engine with its work in FOLDER recorded, and
every line that a ledger acknowledges.
"""

import json
import os
import random
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weak2wise.ledger.columns import Entry
from weak2wise.ledger.places import place_of
from weak2wise.ledger.shards import Shards


class Recorder:
    """Writes the log; ``log`` is a folder on the same file system, outside of the one that is recorded."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder.resolve()
        self._log = log
        log.mkdir(exist_ok=True)
        begun = (log / "events.jsonl").exists()
        self._fd = os.open(log / "events.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if not begun:  # what is there at first is safe
            self._write({"root": self._folder.stat().st_ino})
            for path in [self._folder, *self._folder.rglob("*")]:
                self._write(self._state(path))

    def state_of(self, fd: int) -> dict[str, Any] | None:
        """What an fsync of this file makes safe; ``None`` if it is not in the folder."""
        path = Path(f"/proc/self/fd/{fd}").readlink()
        return self._state(path) if path == self._folder or self._folder in path.parents else None

    def note(self, **event: Any) -> None:
        """Add an event of the program itself."""
        self._write(event)

    def safe(self, state: dict[str, Any]) -> None:
        """The fsync has succeeded."""
        self._write(state)

    def _state(self, path: Path) -> dict[str, Any]:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            self._keep(path, status)
            return {"file": status.st_ino, "size": status.st_size}
        entries = {}
        for entry in os.scandir(path):
            entries[entry.name] = entry.inode()
            self._keep(Path(entry.path), entry.stat(follow_symlinks=False))
        return {"folder": status.st_ino, "entries": entries}

    def _keep(self, path: Path, status: os.stat_result) -> None:
        link = self._log / str(status.st_ino)
        if stat.S_ISREG(status.st_mode) and not link.exists():
            link.hardlink_to(path)

    def _write(self, event: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(event).encode() + b"\n")


@contextmanager
def recorded(folder: Path, log: Path) -> Iterator[Recorder]:
    """Record this process's fsyncs inside of a folder."""
    recorder, fsync = Recorder(folder, log), os.fsync

    def recording(fd: int) -> None:
        state = recorder.state_of(fd)  # before: what another thread writes in the meantime may not be synced
        fsync(fd)
        if state:
            recorder.safe(state)

    os.fsync = recording  # type: ignore[assignment]
    try:
        yield recorder
    finally:
        os.fsync = fsync


def events(log: Path) -> list[dict[str, Any]]:
    """The log, in order."""
    return [json.loads(line) for line in (log / "events.jsonl").read_text().splitlines()]


@dataclass
class _Disk:
    log: Path
    rng: random.Random | None
    root: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    entries: dict[int, dict[str, int]] = field(default_factory=dict)

    def make(self, number: int, path: Path) -> None:
        """Make what is left of a file or folder, by its inode's number."""
        if number in self.entries:
            path.mkdir(parents=True)
            for name, entry in self.entries[number].items():
                self.make(entry, path / name)
        else:
            source = self.log / str(number)
            data = source.read_bytes() if source.exists() else b""
            synced = self.sizes.get(number, 0)
            path.write_bytes(data[:synced] + self._after(data[synced:]))

    def _after(self, rest: bytes) -> bytes:
        if not rest or self.rng is None:
            return b""
        kept = rest[: self.rng.randint(0, min(len(rest), 3000))]
        return kept + bytes(self.rng.choice((0, 0, 1, 512, 4096)))


def restore(log: Path, moment: int, target: Path, rng: random.Random | None = None) -> None:
    """Make what a power cut leaves after the first ``moment`` events.

    Args:
        log: of ``recorded``.
        moment: from 1; how many events had happened.
        target: the folder to make.
        rng: how much is left of what was not synced; ``None``: nothing.
    """
    disk = _Disk(log, rng)
    for event in events(log)[:moment]:
        if "root" in event:
            disk.root = event["root"]
        elif "file" in event:
            disk.sizes[event["file"]] = event["size"]
        elif "folder" in event:
            disk.entries[event["folder"]] = event["entries"]
    disk.make(disk.root, target)


def note_acknowledged(recorder: Recorder) -> None:
    """From now on every line that a ledger acknowledges is noted: its shard, its place and its size."""
    append = Shards.append

    async def noting(self: Shards, line: bytes, entry: Entry) -> int:
        location = await append(self, line, entry)
        shard, offset = place_of(location)
        recorder.note(acknowledged=f"{self.folder.name}/{shard:05d}.jsonl", offset=offset, size=len(line))
        return location

    Shards.append = noting  # type: ignore[method-assign]


if __name__ == "__main__":
    from weak2wise.commands import run_command_line

    with recorded(Path(sys.argv[1]), Path(sys.argv[2])) as its_recorder:
        note_acknowledged(its_recorder)
        del sys.argv[1:3]
        run_command_line()
