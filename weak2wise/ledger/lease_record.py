"""The record of a work_dir's leases: a line of a ledger whenever a part is leased, over, or free again.

The last line of a part counts. It is on disk before a holder learns of its lease, so no epoch is given twice.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import structs

from weak2wise.ledger.columns import Entry, Layout
from weak2wise.ledger.leases import PartState
from weak2wise.ledger.reading import OnDamage
from weak2wise.ledger.shards import READ_ONLY, Shards

FOLDER = "leases"
_DECODER = msgspec.json.Decoder(PartState)


def _facts(line: bytes) -> Entry:
    _DECODER.decode(line)
    return ()


_LAYOUT = Layout("leases 1", {}, _facts)
"""No facts: the record is short, and read whole."""


class LeaseRecord:
    """The record of one work_dir; only its driver writes it. ``states`` has the last state of each part."""

    def __init__(self, work_dir: Path, *, max_bytes: int, fsync_seconds: float = 0) -> None:
        del fsync_seconds  # a line is on disk before what it speaks of is done
        self._shards = Shards(work_dir / "parts" / FOLDER, _LAYOUT, max_bytes=max_bytes, fsync_seconds=0)
        self._encoder = msgspec.json.Encoder()
        self.states: dict[int, PartState] = {}

    @classmethod
    def seen(cls, work_dir: Path) -> "LeaseRecord":
        """The record as it is now, for reading. Blocks; raises as ``Shards.open``."""
        record = cls(work_dir, **READ_ONLY)
        record._shards.lines(record._on_line)
        return record

    def open(self) -> None:
        """Read it, and prepare to add to it. Blocks; raises as ``Shards.open``."""
        self._shards.open(lambda _shard, _columns: None)
        self._shards.lines(self._on_line)

    def _on_line(self, _location: int, line: bytes) -> None:
        state = _DECODER.decode(line)
        self.states[state.part] = state

    def damage(self, on_damage: OnDamage) -> None:
        """Pass what is damaged to ``on_damage``. Blocks; raises ``DiskError``."""
        self._shards.lines(self._on_line, on_damage)

    async def note(self, state: PartState) -> None:
        """Make the state of a part durable. Raises ``DiskError``."""
        await self._shards.append(self._encoder.encode(state), ())
        self.states[state.part] = state

    async def reopen(self, parts: Iterable[int]) -> None:
        """Note that parts which were over have lost some of their outcomes. Raises ``DiskError``."""
        for part in parts:
            if (state := self.states.get(part)) and state.totals is not None:
                await self.note(structs.replace(state, totals=None))

    async def close(self) -> None:
        """Flush and close. Raises ``DiskError``."""
        await self._shards.close()
