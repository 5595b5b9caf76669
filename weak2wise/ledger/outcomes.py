"""The outcome of each row at one stage: done, dropped or failed. The last line for a row counts."""

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from weak2wise.ledger.reading import OnDamage, Torn
from weak2wise.ledger.shards import Shards

T = TypeVar("T")
K = TypeVar("K")


class Done(Struct, Generic[T], frozen=True, tag="done", tag_field="status"):
    """The stage's worker turned the row into ``record``; ``seconds`` includes all its waiting for endpoints.

    ``settings`` is the number of the settings that made an outcome (``Manifest.settings``); unset: the first ones.
    """

    row: int
    record: T
    seconds: float = 0.0
    settings: int | UnsetType = UNSET


class Dropped(Struct, frozen=True, tag="dropped", tag_field="status"):
    """The method does not use the row; ``reason`` is a short stable word."""

    row: int
    reason: str
    settings: int | UnsetType = UNSET


class Failed(Struct, frozen=True, tag="failed", tag_field="status", omit_defaults=True):
    """The row could not be finished; the next run tries it again.

    ``id`` is the input's own name for the row and ``title`` the text by which a person recognises it; ``kind`` is
    a stable word for tools; ``trials`` counts how often it failed here, this time included.
    """

    row: int
    stage: str
    kind: str
    message: str
    endpoint: str | None = None
    attempts: int = 0
    title: str = ""
    trials: int = 1
    id: str | None = None
    settings: int | UnsetType = UNSET


Outcome = Done[T] | Dropped | Failed


def settings_of(outcome: Outcome[Any]) -> int:
    """The number of the settings that made an outcome."""
    return 0 if outcome.settings is UNSET else outcome.settings


def columns_of(outcome: Dropped | Failed) -> dict[str, Any]:
    """The fields of an outcome by name, without the number of the settings."""
    return {name: value for name, value in structs.asdict(outcome).items() if name != "settings"}


class RowStatus(IntEnum):
    """What the index knows about a row without reading its line."""

    NONE = 0
    DONE = 1
    DROPPED = 2
    FAILED = 3


class _Line(Struct):
    status: Literal["done", "dropped", "failed"]
    row: Annotated[int, Meta(ge=0)]
    kind: str = ""


_STATUS = {"done": RowStatus.DONE, "dropped": RowStatus.DROPPED, "failed": RowStatus.FAILED}
_LINE = msgspec.json.Decoder(_Line)
_SHIFT = 62
_LOCATION = (1 << _SHIFT) - 1


class Ledger(Generic[T]):
    """One stage's outcomes, by row (the input's line number).

    In memory a row takes eight bytes: its status and the location of its line. The outcomes stay on disk.
    """

    def __init__(self, name: str, folder: Path, record_type: type[T], *, max_bytes: int, fsync_seconds: float) -> None:
        self.name = name
        self.settings: int | UnsetType = UNSET
        """The number of the run's present settings, written into each outcome; unset: they are the first."""
        self._shards = Shards(folder / name, max_bytes=max_bytes, fsync_seconds=fsync_seconds)
        self._index = array("Q")
        self.tally: Counter[RowStatus] = Counter()
        """How many rows have each status."""
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Done[record_type] | Dropped | Failed)  # type: ignore[valid-type]
        self._encoder = msgspec.json.Encoder()

    def open(self) -> None:
        """Index the outcomes of earlier runs. Blocks. Raises as ``Shards.open``."""
        self._shards.open(self._on_line)

    def look(self) -> None:
        """As ``open``, but for reading only: nothing on disk is changed. Blocks. Raises as ``Shards.open``."""
        self._shards.look(self._on_line)

    @property
    def cut(self) -> Torn | None:
        """The torn end that ``open`` has cut off."""
        return self._shards.cut

    def damage(self, on_damage: OnDamage) -> None:
        """Pass all that is damaged to ``on_damage``; every record is decoded whole. Blocks. Raises ``DiskError``."""
        self._shards.look(lambda _, line: self._decoder.decode(line), on_damage)

    def _on_line(self, location: int, line: bytes) -> None:
        head = _LINE.decode(line)
        self._note(head.row, _STATUS[head.status], location)

    def _note(self, row: int, status: RowStatus, location: int) -> None:
        if row >= len(self._index):
            self._index.extend([0] * (row + 1024 - len(self._index)))
        self.tally[self.status(row)] -= 1
        self.tally[status] += 1
        self._index[row] = status << _SHIFT | location

    def status(self, row: int) -> RowStatus:
        """The row's status, from memory."""
        return RowStatus(self._index[row] >> _SHIFT) if row < len(self._index) else RowStatus.NONE

    def read(self, row: int) -> Outcome[T]:
        """The row's outcome, from disk; its status must not be ``NONE``. Blocks for one small read.

        Raises:
            ConfigError: its line is damaged.
            DiskError: it cannot be read.
        """
        outcome: Outcome[T] = self._shards.read(self._index[row] & _LOCATION, self._decoder.decode)
        return outcome

    def records(self) -> Iterator[T]:
        """The record of every row that is done, in input order. Blocks; raises as ``read``."""
        for row in self.rows():
            if self.status(row) is RowStatus.DONE:
                outcome = self.read(row)
                assert isinstance(outcome, Done)
                yield outcome.record

    def each_done(self, kind: type[K], on_done: Callable[[Done[K]], None]) -> None:
        """Call ``on_done`` for every row that is done, in the order written, with its record decoded as ``kind``.

        A ``kind`` with few of the record's fields is faster for long records. Blocks; raises as ``look``.
        """
        decoder = msgspec.json.Decoder(Done[kind] | Dropped | Failed)  # type: ignore[valid-type]

        def on_line(location: int, line: bytes) -> None:
            outcome = decoder.decode(line)
            if (
                isinstance(outcome, Done)
                and self.status(outcome.row)
                and self._index[outcome.row] & _LOCATION == location
            ):
                on_done(outcome)

        self._shards.look(on_line)

    def ever_failed(self) -> dict[int, str]:
        """Every row that has failed here, with the kind of its last failure, whatever its outcome is now. Blocks."""
        found: dict[int, str] = {}

        def on_line(_location: int, line: bytes) -> None:
            head = _LINE.decode(line)
            if head.status == "failed":
                found[head.row] = head.kind

        self._shards.look(on_line)
        return found

    def rows(self) -> range:
        """Every row number that might have an outcome, in input order."""
        return range(len(self._index))

    async def append(self, outcome: Outcome[T]) -> None:
        """Make an outcome durable.

        Raises:
            DiskError: it may not be durable.
        """
        if self.settings is not UNSET:
            outcome = structs.replace(outcome, settings=self.settings)
        status = _STATUS[type(outcome).__struct_config__.tag]  # type: ignore[index]
        location = await self._shards.append(self._encoder.encode(outcome))
        self._note(outcome.row, status, location)

    async def fetch(self, row: int) -> Outcome[T]:
        """``read`` without blocking the event loop."""
        return await asyncio.to_thread(self.read, row)

    async def close(self) -> None:
        """Flush and close. Raises ``DiskError`` if the last group did not reach the disk."""
        await self._shards.close()
