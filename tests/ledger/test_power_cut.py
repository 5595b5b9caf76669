"""What is promised of a power cut, on a disk that forgets what was not synced (``tests.ledger.power_cut``)."""

import asyncio
import errno
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.ledger.power_cut import Recorder, events, note_acknowledged, recorded, restore
from tests.ledger.test_ledger import LAYOUT, ignore, line_of, numbered, read_back
from weak2wise.ledger.files import make_private, write_atomic
from weak2wise.ledger.reading import Damage
from weak2wise.ledger.repair import kept_in_file
from weak2wise.ledger.shards import DiskError, Shards

NEVER = 3600.0
"""Seconds after which a timer would sync; no test takes so long."""


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Records the folder ``disk``, with what its ledgers acknowledge."""
    (tmp_path / "disk").mkdir()
    with recorded(tmp_path / "disk", tmp_path / "log") as found:
        monkeypatch.setattr(Shards, "append", Shards.append)  # put back at the end
        note_acknowledged(found)
        yield found


def left(tmp_path: Path, moment: int | None = None) -> Path:
    """The folder ``disk`` after a power cut; now, if no moment is given."""
    moment = len(events(tmp_path / "log")) if moment is None else moment
    target = Path(tempfile.mkdtemp(dir=tmp_path)) / "left"
    restore(tmp_path / "log", moment, target)
    return target


def shards_on(tmp_path: Path, fsync_seconds: float, max_bytes: int = 1 << 20) -> Shards:
    shards = Shards(tmp_path / "disk" / "a", LAYOUT, max_bytes=max_bytes, fsync_seconds=fsync_seconds)
    shards.open(ignore)
    return shards


def numbers(tmp_path: Path, moment: int | None = None) -> list[int]:
    """Which lines a power cut leaves."""
    folder = left(tmp_path, moment) / "a"
    return [msgspec.json.decode(line)["n"] for line in read_back(folder)] if folder.exists() else []


async def after(tmp_path: Path, moment: int | None = None) -> list[int]:
    return await asyncio.to_thread(numbers, tmp_path, moment)


@pytest.mark.usefixtures("recorder")
async def test_what_was_not_synced_is_forgotten(tmp_path: Path) -> None:
    """The layer itself: without this, the tests below could not fail."""
    shards = shards_on(tmp_path, NEVER)
    await shards.append(*numbered(1))
    assert await after(tmp_path) == []
    await shards.close()


@pytest.mark.usefixtures("recorder")
async def test_a_closed_ledger_survives_whole(tmp_path: Path) -> None:
    shards = shards_on(tmp_path, NEVER)
    await asyncio.gather(*(shards.append(*numbered(n)) for n in range(5)))
    await shards.close()
    assert await after(tmp_path) == list(range(5))


@pytest.mark.slow
@pytest.mark.usefixtures("recorder")
async def test_a_line_survives_once_the_interval_has_passed(tmp_path: Path) -> None:
    """Again and again: the timer starts anew with the next line."""
    shards = shards_on(tmp_path, 0.02)
    for number in range(3):
        await shards.append(*numbered(number))
        for _ in range(500):
            if await after(tmp_path) == list(range(number + 1)):
                break
            await asyncio.sleep(0.01)
        assert await after(tmp_path) == list(range(number + 1))
    await shards.close()


@pytest.mark.slow
@pytest.mark.usefixtures("recorder")
async def test_a_full_shard_survives_before_the_next_one_takes_a_line(tmp_path: Path) -> None:
    """The timer syncs the shard that is being written alone; no later sync would reach an earlier one."""
    shards = shards_on(tmp_path, NEVER, max_bytes=200)
    for number in range(20):
        await shards.append(*numbered(number))
        last = max((tmp_path / "disk" / "a").iterdir())
        earlier = [n for n in range(number + 1) if f'"n":{n},'.encode() not in last.read_bytes()]
        assert await after(tmp_path) == earlier
    assert len(list((tmp_path / "disk" / "a").iterdir())) > 3
    await shards.close()


@pytest.mark.usefixtures("recorder")
async def test_a_shard_s_name_survives_with_its_lines(tmp_path: Path) -> None:
    shards = shards_on(tmp_path, 0, max_bytes=200)
    for number in range(20):
        await shards.append(*numbered(number))
        assert sorted(path.name for path in (left(tmp_path) / "a").iterdir()) == sorted(
            path.name for path in (tmp_path / "disk" / "a").iterdir()
        )
    await shards.close()


@pytest.mark.usefixtures("recorder")
async def test_what_a_killed_process_had_not_synced_is_synced_by_the_next_before_it_is_used(tmp_path: Path) -> None:
    killed = shards_on(tmp_path, NEVER)
    await killed.append(*numbered(1))
    following = shards_on(tmp_path, NEVER)
    assert await after(tmp_path) == [1]
    await following.close()
    await killed.close()


@pytest.mark.usefixtures("recorder")
async def test_with_an_interval_of_zero_every_acknowledged_line_survives_at_every_moment(tmp_path: Path) -> None:
    """Several ledgers at once: at each moment that the log knows, each has all that it had acknowledged."""
    ledgers = [Shards(tmp_path / "disk" / name, LAYOUT, max_bytes=400, fsync_seconds=0) for name in "abc"]
    for ledger in ledgers:
        ledger.open(ignore)
    await asyncio.gather(*(ledger.append(*numbered(n)) for n in range(30) for ledger in ledgers))
    for number in range(30, 40):
        for ledger in ledgers:
            await ledger.append(*numbered(number))
    await asyncio.gather(*(ledger.close() for ledger in ledgers))
    happened = events(tmp_path / "log")
    acknowledged: dict[str, list[bytes]] = {}
    for moment, event in enumerate(happened, 1):
        if name := event.get("acknowledged"):
            content = (tmp_path / "disk" / name).read_bytes()
            lines = acknowledged.setdefault(name, [])
            lines.append(content[event["offset"] :].partition(b"\n")[0])
            if moment % 10 == 0:
                now = left(tmp_path, moment)
                for path, said in acknowledged.items():
                    assert set(said) <= set((now / path).read_bytes().splitlines())
    assert sum(map(len, acknowledged.values())) == 120


def test_a_file_written_whole_survives_whole_or_the_earlier_one_does_at_every_moment(
    tmp_path: Path, recorder: Recorder
) -> None:
    path = tmp_path / "disk" / "manifest.json"
    write_atomic(path, [b"first"])
    recorder.note(returned="first")
    write_atomic(path, [b"second, ", b"and longer"])
    recorder.note(returned="second")
    seen = []
    for moment, event in enumerate(events(tmp_path / "log"), 1):
        now = left(tmp_path, moment) / "manifest.json" if moment > 1 else tmp_path / "none"
        seen.append(now.read_bytes() if now.exists() else None)
        if "returned" in event:
            assert seen[-1] == {"first": b"first", "second": b"second, and longer"}[event["returned"]]
    assert {None, b"first", b"second, and longer"} == set(seen)


@pytest.mark.usefixtures("recorder")
def test_new_folders_survive_with_what_is_in_them(tmp_path: Path) -> None:
    make_private(tmp_path / "disk" / "x" / "y")
    write_atomic(tmp_path / "disk" / "x" / "y" / "file", [b"content"])
    assert (left(tmp_path) / "x" / "y" / "file").read_bytes() == b"content"


@pytest.mark.usefixtures("recorder")
def test_damaged_lines_survive_in_their_file_before_they_are_taken_out_of_the_shard(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    damage = Damage(disk / "ledger" / "a" / "00000.jsonl", 1, "why", b"damaged \xff\n")
    with kept_in_file(disk / "damaged.jsonl") as keep:
        keep(damage)
    expected = {"file": "ledger/a/00000.jsonl", "line": 1, "reason": "why", "bytes": "ZGFtYWdlZCD/Cg=="}
    assert json.loads((left(tmp_path) / "damaged.jsonl").read_bytes()) == expected
    with pytest.raises(OSError, match="File exists"), kept_in_file(disk / "damaged.jsonl") as keep:
        keep(damage)
    assert json.loads((disk / "damaged.jsonl").read_bytes()) == expected, "never another's file"


def failing(number: int, times: int, real: Callable[[int], None]) -> Callable[[int], None]:
    """An fsync that fails ``times`` times."""
    left_over = [number] * times

    def fsync(fd: int) -> None:
        if left_over:
            raise OSError(left_over.pop(), os.strerror(number))
        real(fd)

    return fsync


async def _appends(shards: Shards) -> None:
    for number in range(1, 1000):
        await shards.append(*numbered(number))
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("reports", [Shards.close, _appends], ids=["close", "append"])
async def test_an_fsync_that_fails_once_is_reported_although_later_ones_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: Callable[[Shards], Awaitable[None]]
) -> None:
    """The kernel reports a lost page once; a second fsync says nothing of it."""
    (tmp_path / "disk").mkdir()
    shards = shards_on(tmp_path, 0.01)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, 1, os.fsync))
    await shards.append(*numbered(0))
    with pytest.raises(DiskError, match="Input/output error"):
        await reports(shards)
    with pytest.raises(DiskError):
        await shards.append(*numbered(1001))
    with pytest.raises(DiskError):
        await shards.close()


async def test_with_an_interval_of_zero_a_failed_fsync_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    shards = shards_on(tmp_path, 0)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, 1, os.fsync))
    said = await asyncio.gather(*(shards.append(*numbered(n)) for n in range(4)), return_exceptions=True)
    assert [type(error) for error in said] == [DiskError] * 4
    with pytest.raises(DiskError):
        await shards.close()


async def test_a_write_that_is_cut_short_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven bytes at a time: every acknowledged line is there, whole."""
    (tmp_path / "disk").mkdir()
    shards = shards_on(tmp_path, NEVER, max_bytes=300)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    await asyncio.gather(*(shards.append(*numbered(n)) for n in range(20)))
    await shards.close()
    monkeypatch.undo()
    found = await asyncio.to_thread(read_back, tmp_path / "disk" / "a")
    assert found == [line_of(n) for n in range(20)]
