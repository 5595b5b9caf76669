"""The requests of one batch, one a line, in a file of the work_dir: what is uploaded, and ticked off at the end.

A request's ``custom_id`` is made of what asks: role, row, and the answer's key in the journal. So a result proves what
it is, also where the run has forgotten that it asked.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from weak2wise.errors import ConfigError
from weak2wise.ledger.files import fix_hint, make_private, sync_folder
from weak2wise.ledger.shards import DiskError

FOLDER = "batches"
"""In the work_dir."""
_CHUNK = 1 << 20
_CUSTOM_ID = re.compile(r"([a-z])-(\d{1,18})-([0-9a-f]{32})", re.ASCII)


class Asker(NamedTuple):
    """What a request is for: the first letter of the role, the row, and the key in the journal."""

    kind: str
    row: int
    key: str

    @classmethod
    def of(cls, custom_id: str) -> "Asker | None":
        """What a ``custom_id`` says; ``None`` if it is not one of ours."""
        found = _CUSTOM_ID.fullmatch(custom_id)
        return cls(found[1], int(found[2]), found[3]) if found else None

    @property
    def custom_id(self) -> str:
        """At most 53 letters, digits and hyphens."""
        return f"{self.kind}-{self.row}-{self.key}"


class _Line(Struct):
    custom_id: str


_LINE = msgspec.json.Decoder(_Line)


def file_of(work_dir: Path, key: str) -> Path:
    """The file of a batch."""
    return work_dir / FOLDER / f"{key}.jsonl"


def askers_in(path: Path) -> Iterator[Asker]:
    """What the requests of a file are for, in its order. Blocks.

    Raises:
        ConfigError: it is missing, or not as it was written.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                asker = Asker.of(_LINE.decode(line).custom_id)
                if asker is None:
                    raise ValueError
                yield asker
    except OSError as error:
        reason = str(error.strerror)
    except ValueError:
        reason = "not as it was written"
    else:
        return
    raise ConfigError(
        f"{path}: {reason}. It holds requests of a batch that is out: restore it; or weak2wise batch cancel --give-up "
        "forgets it, with the answers that are paid for"
    )


class RequestsFile:
    """The file of a batch that is being collected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests = 0
        self.size = 0
        self.usd = 0.0
        self._chunk = bytearray()
        self._fd = -1
        self._writing = asyncio.Lock()

    async def add(self, line: bytes, usd: float) -> None:
        """Add one request, without its line break, that may cost so much. Raises ``DiskError``."""
        self.requests += 1
        self.size += len(line) + 1
        self.usd += usd
        self._chunk += line
        self._chunk += b"\n"
        if len(self._chunk) >= _CHUNK:
            await self._write(last=False)

    async def finish(self) -> None:
        """Make it durable. Raises ``DiskError``."""
        await self._write(last=True)

    async def _write(self, *, last: bool) -> None:
        async with self._writing:
            chunk, self._chunk = self._chunk, bytearray()
            try:
                await asyncio.to_thread(self._append, chunk, last=last)
            except OSError as error:
                raise DiskError(f"{self.path}: {error.strerror}", hint=f"{fix_hint(error)}; nothing is lost.") from None

    def _append(self, chunk: bytearray, *, last: bool) -> None:
        if self._fd < 0:
            make_private(self.path.parent)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        data = memoryview(chunk)
        while data:
            data = data[os.write(self._fd, data) :]
        if last:
            os.fsync(self._fd)
            self.close()
            sync_folder(self.path.parent)

    def close(self) -> None:
        """Close it, whole or not."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
