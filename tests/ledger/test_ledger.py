"""Ledgers: what is acknowledged survives, tails cut anywhere are repaired, and memory holds only an index."""

import asyncio
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from weak2wise.errors import ConfigError
from weak2wise.ledger.columns import Columns, Entry, Layout
from weak2wise.ledger.files import locked, write_atomic
from weak2wise.ledger.lines import HEAD
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, RowStatus
from weak2wise.ledger.shards import DiskError, Shards

MEGABYTE = 1 << 20
LAYOUT = Layout("lines of tests", {"n": "I"}, lambda line: (msgspec.json.decode(line).get("n", 0),))


def ignore(_shard: int, _lines: Columns) -> None:
    """Takes the facts of a shard's lines."""


def numbered(number: int) -> tuple[bytes, Entry]:
    """The line of a number and its facts."""
    return line_of(number), (number,)


def shards_in(folder: Path, max_bytes: int = MEGABYTE) -> Shards:
    return Shards(folder, LAYOUT, max_bytes=max_bytes, fsync_seconds=0.01)


def read_back(folder: Path, max_bytes: int = MEGABYTE) -> list[bytes]:
    """What a later process finds: every line must be whole JSON."""
    lines: list[bytes] = []

    def on_line(_location: int, line: bytes) -> None:
        lines.append(bare(line))

    shards = shards_in(folder, max_bytes)
    shards.open(ignore)
    shards.lines(on_line)
    asyncio.run(shards.close())
    return lines


def bare(line: bytes) -> bytes:
    """A line of a shard without its checksum and line break; raises ``ValueError`` if it is not JSON."""
    checksum = msgspec.json.decode(line)["xxh64"]
    assert line.startswith(b'{"xxh64":"%s",' % checksum.encode())
    return b"{" + line.rstrip(b"\n")[HEAD:]


def line_of(number: int) -> bytes:
    return msgspec.json.encode({"n": number, "pad": "x" * (number % 7)})


async def write(folder: Path, numbers: range, max_bytes: int = MEGABYTE) -> list[int]:
    shards = shards_in(folder, max_bytes)
    shards.open(ignore)
    try:
        return await asyncio.gather(*(shards.append(*numbered(n)) for n in numbers))
    finally:
        await shards.close()


@pytest.mark.slow
def test_a_tail_cut_at_any_byte_keeps_every_whole_line_and_takes_new_ones(tmp_path: Path) -> None:
    """The last line is torn at each of its bytes; nothing else is lost, and no two lines are ever glued together."""
    asyncio.run(write(tmp_path / "whole", range(6)))
    content = (tmp_path / "whole" / "00000.jsonl").read_bytes()
    for cut in range(len(content) + 1):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "00000.jsonl").write_bytes(content[:cut])
        kept = content[:cut].count(b"\n")
        asyncio.run(write(folder, range(100, 102)))
        assert read_back(folder) == [line_of(n) for n in (*range(kept), 100, 101)]


def test_zeros_left_by_a_power_cut_are_a_torn_tail(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(4)))
    path = tmp_path / "00000.jsonl"
    os.truncate(path, path.stat().st_size - 4)
    with path.open("ab") as file:
        file.write(b"\0" * 150)
    assert read_back(tmp_path) == [line_of(n) for n in range(3)]


@pytest.mark.parametrize("max_bytes", [MEGABYTE, 40])
def test_damage_before_the_tail_is_reported_by_file_and_line(tmp_path: Path, max_bytes: int) -> None:
    asyncio.run(write(tmp_path, range(6), max_bytes))
    path = tmp_path / "00000.jsonl"
    damaged = bytearray(path.read_bytes())
    damaged[0:2] = b"##"
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match=r"00000\.jsonl: line 1 is damaged"):
        read_back(tmp_path, max_bytes)
    assert path.read_bytes() == damaged, "a file that is not understood is not touched"


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(20, 200))
def test_locations_lead_back_to_their_lines_across_shards(count: int, max_bytes: int) -> None:
    async def check(folder: Path) -> None:
        locations = await write(folder, range(count), max_bytes)
        shards = shards_in(folder, max_bytes)
        shards.open(ignore)
        assert [shards.read(location, bare) for location in locations] == [line_of(n) for n in range(count)]
        await shards.close()
        for shard in folder.glob("*.jsonl"):
            assert shard.stat().st_size <= max(max_bytes, *(HEAD + len(line_of(n)) for n in range(count)))

    with tempfile.TemporaryDirectory() as work_dir:  # the index is beside the shards' folder
        asyncio.run(check(Path(work_dir) / "shards"))


async def test_an_append_that_is_cancelled_while_waiting_is_still_written(tmp_path: Path) -> None:
    shards = shards_in(tmp_path)
    shards.open(ignore)
    task = asyncio.create_task(shards.append(*numbered(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await shards.close()
    assert await asyncio.to_thread(read_back, tmp_path) == [line_of(1)]


async def test_a_disk_that_refuses_stops_everything_later_and_keeps_everything_before(tmp_path: Path) -> None:
    """A real refusal: the kernel's own limit on file size (EFBIG), as a full disk would answer ENOSPC."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    shards = shards_in(tmp_path)
    shards.open(ignore)
    try:
        await shards.append(*numbered(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEAD + 30, old[1]))
        refused = await asyncio.gather(*(shards.append(*numbered(n)) for n in range(2, 9)), return_exceptions=True)
        assert {(type(error), "File too large" in str(error)) for error in refused} == {(DiskError, True)}
        assert len(refused) == 7
        with pytest.raises(DiskError):
            await shards.append(*numbered(9))
        with pytest.raises(DiskError):
            await shards.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert await asyncio.to_thread(read_back, tmp_path) == [line_of(1)]


def test_files_and_folders_are_the_owners_alone(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path / "new" / "deep", range(1)))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / "deep" / "00000.jsonl").stat().st_mode & 0o777 == 0o600
    write_atomic(tmp_path / "out.jsonl", [b"{}"])
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600


class Thing(msgspec.Struct, frozen=True):
    """A record."""

    text: str


def ledger_in(folder: Path) -> Ledger[Thing]:
    ledger = Ledger("things", folder, Thing, max_bytes=MEGABYTE, fsync_seconds=0.01)
    ledger.open()
    return ledger


async def test_a_rows_last_outcome_counts_and_survives_reopening(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    failed = Failed(row=2, stage="things", kind="timeout", message="no answer", attempts=3)
    await ledger.append(failed)
    await ledger.append(Dropped(5000, "weak_solves"))
    assert ledger.status(2) is RowStatus.FAILED
    await ledger.append(Done(2, Thing("second try")))
    await ledger.close()
    again = ledger_in(tmp_path)
    assert [again.status(row) for row in (1, 2, 5000, 10**7)] == [
        RowStatus.NONE,
        RowStatus.DONE,
        RowStatus.DROPPED,
        RowStatus.NONE,
    ]
    assert again.read(2) == Done(2, Thing("second try"))
    assert await again.fetch(5000) == Dropped(5000, "weak_solves")
    await again.close()


async def test_only_a_row_s_last_record_is_passed_on_and_only_failures_count_as_such(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    await ledger.append(Done(1, Thing("first")))
    await ledger.append(Failed(row=2, stage="things", kind="bad_request", message="refused"))
    await ledger.append(Failed(row=2, stage="things", kind="timeout", message="no answer"))
    await ledger.append(Done(2, Thing("later")))
    await ledger.append(Done(1, Thing("second")))
    await ledger.append(Dropped(3, "weak_solves"))
    await ledger.append(Done(4, Thing("fourth")))
    await ledger.append(Dropped(4, "weak_solves"))
    seen: list[Done[Thing]] = []
    ledger.each_done(Thing, seen.append)
    assert seen == [Done(2, Thing("later")), Done(1, Thing("second"))]
    assert ledger.ever_failed() == {2: "timeout"}
    await ledger.close()


def test_two_engines_cannot_hold_one_work_dir(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "w"),
        pytest.raises(ConfigError, match=f"in use by another engine .process {os.getpid()}"),
        locked(tmp_path / "w"),
    ):
        pass
    with locked(tmp_path / "w"):
        pass


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_atomic(path, [b"old\n"])

    def broken() -> Iterator[bytes]:
        yield b"new"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, broken())
    assert path.read_bytes() == b"old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_looking_sees_every_whole_line_and_leaves_a_torn_tail_to_its_writer(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(4)))
    path = tmp_path / "00000.jsonl"
    os.truncate(path, path.stat().st_size - 4)
    before = (tmp_path / "00000.jsonl").read_bytes()
    seen: list[bytes] = []
    shards_in(tmp_path).lines(lambda _location, line: seen.append(bare(line)))
    assert seen == [line_of(n) for n in range(3)]
    assert (tmp_path / "00000.jsonl").read_bytes() == before
    shards_in(tmp_path / "nowhere").lines(lambda _location, line: seen.append(line))
    shards_in(tmp_path / "nowhere").look(ignore)
    assert not (tmp_path / "nowhere").exists()
    assert len(seen) == 3
