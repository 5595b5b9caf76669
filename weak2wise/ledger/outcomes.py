"""The outcome of each row at one stage: done, dropped or failed. The last line for a row counts."""

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from heapq import nlargest
from itertools import compress
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from weak2wise.ledger.columns import TEXT, Columns, Entry, Layout, widened
from weak2wise.ledger.reading import Extent, OnDamage, Torn
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
    """The method does not use the row; ``reason`` is a short stable word, ``detail`` says more about this row."""

    row: int
    reason: str
    settings: int | UnsetType = UNSET
    detail: str | UnsetType = UNSET

    @property
    def why(self) -> str:
        """Reason and detail in words."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


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
    fields = {name: value for name, value in structs.asdict(outcome).items() if name != "settings"}
    return {name: None if value is UNSET else value for name, value in fields.items()}


class RowStatus(IntEnum):
    """What the index knows about a row without reading its line."""

    NONE = 0
    DONE = 1
    DROPPED = 2
    FAILED = 3


class Ending(NamedTuple):
    """How a row left a stage: its status and, if it was dropped or failed, the reason or kind."""

    status: RowStatus
    why: str = ""


class _Line(Struct):
    status: Literal["done", "dropped", "failed"]
    row: Annotated[int, Meta(ge=0)]
    seconds: float = 0.0
    reason: str = ""
    kind: str = ""


_STATUS = {"done": RowStatus.DONE, "dropped": RowStatus.DROPPED, "failed": RowStatus.FAILED}
_LINE = msgspec.json.Decoder(_Line)


def _facts(line: bytes) -> Entry:
    head = _LINE.decode(line)
    return head.row, f"{head.status} {head.reason}{head.kind}", head.seconds


def _facts_of(outcome: "Outcome[Any]") -> Entry:
    match outcome:
        case Done():
            return outcome.row, "done ", outcome.seconds
        case Dropped():
            return outcome.row, f"dropped {outcome.reason}", 0.0
        case Failed():
            return outcome.row, f"failed {outcome.kind}", 0.0


_LAYOUT = Layout("outcomes 1", {"row": "I", "ending": TEXT, "seconds": "f"}, _facts)


def _ending(text: str) -> Ending:
    """The ending that a column of an index has as this text."""
    status, _, why = text.partition(" ")
    return Ending(_STATUS[status], why)


class Ledger(Generic[T]):
    """One stage's outcomes, by row (the input's line number).

    In memory a row takes nine bytes: the location of its line, and the number of its ending. The outcomes stay on disk.
    Rows before ``first`` have none here, and take no memory: what is *by row* begins with the row ``first``.
    ``earlier``: as for ``Shards``.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        record_type: type[T],
        *,
        max_bytes: int,
        fsync_seconds: float,
        first: int = 0,
        earlier: Sequence[Extent] = (),
    ) -> None:
        self.name = name
        self.first = first
        self.settings: int | UnsetType = UNSET
        """The number of the run's present settings, written into each outcome; unset: they are the first."""
        self._shards = Shards(folder / name, _LAYOUT, max_bytes=max_bytes, fsync_seconds=fsync_seconds, earlier=earlier)
        self._locations = array("Q")
        self.numbers: array[int] = array("B")
        """By row: the number of its ending, an index into ``endings``."""
        self.endings = [Ending(RowStatus.NONE)]
        self._known: dict[str, int] = {}
        """The same numbers by the text that an index has for an ending."""
        self.tally: Counter[RowStatus] = Counter()
        """How many rows have each status."""
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Done[record_type] | Dropped | Failed)  # type: ignore[valid-type]
        self._encoder = msgspec.json.Encoder()

    def open(self) -> None:
        """Index the outcomes of earlier runs. Blocks. Raises as ``Shards.open``."""
        self._shards.open(self._take)
        self._count()

    def look(self) -> None:
        """As ``open``, but for reading only: nothing on disk is changed. Blocks. Raises as ``Shards.open``."""
        self._shards.look(self._take)
        self._count()

    @property
    def cut(self) -> Torn | None:
        """The torn end that ``open`` has cut off."""
        return self._shards.cut

    def damage(self, on_damage: OnDamage) -> None:
        """Pass all that is damaged to ``on_damage``; every record is decoded whole. Blocks. Raises ``DiskError``."""
        self._shards.lines(lambda _, line: self._decoder.decode(line), on_damage)

    def _take(self, shard: int, columns: Columns) -> None:
        known = [self._numbered(text) for text in columns.texts]
        rows = columns["row"]
        if self.first:
            rows = [row - self.first for row in rows]
            if rows and min(rows) < 0:
                raise self._shards.damaged(shard, rows.index(min(rows)), "its row is one of another part")
        try:
            self._put(shard, columns, rows, known)
        except IndexError:
            self._make_room(max(rows))
            self._put(shard, columns, rows, known)

    def _put(self, shard: int, columns: Columns, rows: Sequence[int], known: Sequence[int]) -> None:
        locations, numbers = self._locations, self.numbers
        for row, text, location in zip(rows, columns["ending"], columns.locations(shard), strict=False):
            locations[row] = location
            numbers[row] = known[text]

    def _count(self) -> None:
        self.tally.clear()
        for status in RowStatus:
            self.tally[status] = self.are(status).count(1)

    def _note(self, row: int, ending: str, location: int) -> None:
        number, at = self._numbered(ending), row - self.first
        self._make_room(at)
        self.tally[self.status(row)] -= 1
        self.tally[self.endings[number].status] += 1
        self._locations[at] = location
        self.numbers[at] = number

    def _numbered(self, ending: str) -> int:
        number = self._known.get(ending)
        if number is None:
            number = self._known[ending] = len(self.endings)
            self.endings.append(_ending(ending))
            if number >> 8 * self.numbers.itemsize:
                self.numbers = widened(self.numbers)
        return number

    def _make_room(self, at: int) -> None:
        if at >= len(self.numbers):
            more = at + 1024 - len(self.numbers)
            self._locations.frombytes(bytes(more * self._locations.itemsize))
            self.numbers.frombytes(bytes(more * self.numbers.itemsize))

    def status(self, row: int) -> RowStatus:
        """The row's status, from memory."""
        at = row - self.first
        return self.endings[self.numbers[at]].status if 0 <= at < len(self.numbers) else RowStatus.NONE

    def are(self, status: RowStatus) -> bytes:
        """By row, 1 if it has this status."""
        table = bytes(ending.status is status for ending in self.endings)
        if self.numbers.itemsize == 1:
            return self.numbers.tobytes().translate(table.ljust(256, b"\0"))
        return bytes(map(table.__getitem__, self.numbers))

    def read(self, row: int) -> Outcome[T]:
        """The row's outcome, from disk; its status must not be ``NONE``. Blocks for one small read.

        Raises:
            ConfigError: its line is damaged.
            DiskError: it cannot be read.
        """
        outcome: Outcome[T] = self._shards.read(self._locations[row - self.first], self._decoder.decode)
        return outcome

    def records(self) -> Iterator[T]:
        """The record of every row that is done, in input order. Blocks; raises as ``read``."""
        locations = compress(self._locations, self.are(RowStatus.DONE))
        for outcome in self._shards.read_all(locations, self._decoder.decode):
            assert isinstance(outcome, Done)
            yield outcome.record

    def each_done(self, kind: type[K], on_done: Callable[[Done[K]], None]) -> None:
        """Call ``on_done`` for every row that is done, in the order written, with its record decoded as ``kind``.

        A ``kind`` with few of the record's fields is faster for long records. Blocks; raises as ``look``.
        """
        decoder = msgspec.json.Decoder(Done[kind] | Dropped | Failed)  # type: ignore[valid-type]

        def on_line(location: int, line: bytes) -> None:
            outcome = decoder.decode(line)
            if not isinstance(outcome, Done):
                return
            if self.status(outcome.row) and self._locations[outcome.row - self.first] == location:
                on_done(outcome)

        self._shards.lines(on_line)

    def seconds(self) -> "array[float]":
        """The seconds of every row that is done, by row. Blocks; raises as ``look``."""
        found = array("f", bytes(len(self.numbers) * array("f").itemsize))

        def take(_shard: int, columns: Columns) -> None:
            for row, seconds in zip(columns["row"], columns["seconds"], strict=True):
                if row - self.first < len(found):
                    found[row - self.first] = seconds

        self._shards.look(take)
        return found

    def ever_failed(self) -> dict[int, str]:
        """Every row that has failed here, with the kind of its last failure, whatever its outcome is now. Blocks."""
        found: dict[int, str] = {}

        def take(_shard: int, columns: Columns) -> None:
            endings = [_ending(text) for text in columns.texts]
            failed = {number for number, ending in enumerate(endings) if ending.status is RowStatus.FAILED}
            for row, number in zip(columns["row"], columns["ending"], strict=True):
                if number in failed:
                    found[row] = endings[number].why

        self._shards.look(take)
        return found

    def newest(self, status: RowStatus, count: int) -> list[int]:
        """Up to ``count`` rows that have this status, the one that got it last first. Looks at every row."""
        rows = compress(zip(self._locations, self.rows(), strict=False), self.are(status))
        return [row for _, row in nlargest(count, rows)]

    def rows(self) -> range:
        """Every row number that might have an outcome, in input order."""
        return range(self.first, self.first + len(self.numbers))

    def last_row(self) -> int:
        """The highest row with an outcome; 0 if there is none."""
        return max((row for row, number in zip(self.rows(), self.numbers, strict=True) if number), default=0)

    async def append(self, outcome: Outcome[T]) -> None:
        """Make an outcome durable.

        Raises:
            DiskError: it may not be durable.
        """
        if self.settings is not UNSET:
            outcome = structs.replace(outcome, settings=self.settings)
        entry = _facts_of(outcome)
        location = await self._shards.append(self._encoder.encode(outcome), entry)
        self._note(outcome.row, entry[1], location)

    async def fetch(self, row: int) -> Outcome[T]:
        """``read`` without blocking the event loop."""
        return await asyncio.to_thread(self.read, row)

    async def close(self) -> None:
        """Flush and close. Raises ``DiskError`` if the last group did not reach the disk."""
        await self._shards.close()
