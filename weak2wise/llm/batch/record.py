"""The record of a run's batches: a line of a ledger whenever one has got further. The last line of a batch counts.

A batch goes through these stages, and each is durable before the next one begins:

``intent``    its requests are in a file of the work_dir; nothing has been sent.
``uploaded``  the provider has the file; from here on the batch may have been made.
``out``       the batch has been made, and is known by its id.
``fetched``   it has ended, and every answer is in the journal.
``ended``     its files are deleted, here and at the provider.

So after a crash it is known what may have been sent, and by which file id it is found in the provider's listing.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from weak2wise.ledger.columns import Entry, Layout
from weak2wise.ledger.reading import Torn
from weak2wise.ledger.shards import READ_ONLY, Shards

Stage = Literal["intent", "uploaded", "out", "fetched", "ended"]


class BatchState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One batch.

    Attributes:
        key: its name, unique; the provider keeps it as metadata.
        endpoint: what the config calls the endpoint.
        stage: as above.
        requests: how many it holds.
        size: bytes of its file.
        usd: the most that it may cost, which is reserved while it is out.
        account: a digest of the address and the key that it was sent with.
        window: what the provider was asked to keep to.
        at: when this line was written; seconds since 1970.
        sent: when it was made.
        file_id: of the requests, at the provider.
        batch_id: at the provider.
        results: the files of results, at the provider.
        status: in the provider's words.
        done: requests that it says it has worked off.
        answered: answers that have arrived.
    """

    key: str
    endpoint: str
    stage: Stage
    requests: int
    size: int
    usd: float = 0.0
    account: str = ""
    window: str = ""
    at: float = 0.0
    sent: float = 0.0
    file_id: str = ""
    batch_id: str = ""
    results: tuple[str, ...] = ()
    status: str = ""
    done: int = 0
    answered: int = 0

    @property
    def is_open(self) -> bool:
        """Whether answers may still come of it."""
        return self.stage in {"intent", "uploaded", "out"}


_DECODER = msgspec.json.Decoder(BatchState)


def _facts(line: bytes) -> Entry:
    _DECODER.decode(line)
    return ()


_LAYOUT = Layout("batches 1", {}, _facts)
"""No facts: the record is short, and read whole."""


class BatchRecord:
    """The record of one work_dir. ``latest`` has the state of each batch by its key, in the order of their making."""

    def __init__(self, folder: Path, *, max_bytes: int, fsync_seconds: float = 0) -> None:
        del fsync_seconds  # a line is on disk before what it speaks of is done
        self._shards = Shards(folder / "batches", _LAYOUT, max_bytes=max_bytes, fsync_seconds=0)
        self._encoder = msgspec.json.Encoder()
        self.latest: dict[str, BatchState] = {}
        self.opened = False

    @classmethod
    def seen(cls, work_dir: Path) -> "BatchRecord":
        """The record of a work_dir as it is now, for reading. Blocks; raises as ``Shards.open``."""
        record = cls(work_dir / "ledger", **READ_ONLY)
        record._shards.lines(record._on_line)
        return record

    @property
    def exists(self) -> bool:
        """Whether the work_dir has such a record."""
        return self._shards.folder.is_dir()

    @property
    def cut(self) -> Torn | None:
        """The torn end that ``open`` has cut off."""
        return self._shards.cut

    def open(self) -> None:
        """Read it, and prepare to add to it. Blocks; raises as ``Shards.open``."""
        self._shards.open(lambda _shard, _columns: None)
        self._shards.lines(self._on_line)
        self.opened = True

    def _on_line(self, _location: int, line: bytes) -> None:
        state = _DECODER.decode(line)
        self.latest[state.key] = state

    def states(self, endpoint: str | None = None) -> list[BatchState]:
        """The batches whose answers may still come, of one endpoint or of all."""
        return [one for one in self.latest.values() if one.is_open and endpoint in (None, one.endpoint)]

    async def note(self, state: BatchState) -> None:
        """Make durable how far a batch is. Raises ``DiskError``."""
        await self._shards.append(self._encoder.encode(state), ())
        self.latest[state.key] = state

    def damage(self, on_damage: Any) -> None:
        """Pass what is damaged to ``on_damage``. Blocks; raises ``DiskError``."""
        self._shards.lines(self._on_line, on_damage)

    async def close(self) -> None:
        """Flush and close. Raises ``DiskError``."""
        if self.opened:
            await self._shards.close()
