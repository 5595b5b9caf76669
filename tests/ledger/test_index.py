"""Indexes of shards: a start by them knows what a reading of all lines knows; one that does not match is ignored."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.test_ledger import LAYOUT, Thing, numbered, shards_in, write
from weak2wise.errors import ConfigError
from weak2wise.ledger import index
from weak2wise.ledger.columns import Layout
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Outcome, RowStatus
from weak2wise.ledger.reading import shard_path

SMALL = 400
ROWS = 40


def ledger_in(folder: Path, max_bytes: int = SMALL) -> Ledger[Thing]:
    return Ledger("things", folder, Thing, max_bytes=max_bytes, fsync_seconds=0.01)


def outcomes() -> list[Outcome[Any]]:
    """Of forty rows, in another order than theirs; some fail and are done later, two are dropped."""
    found: list[Outcome[Any]] = []
    for row in [number * 7 % ROWS for number in range(ROWS)]:
        if row % 5 == 0:
            found.append(Failed(row=row, stage="things", kind="timeout" if row % 2 else "refused", message="no answer"))
        if row % 10 != 0:
            found.append(Dropped(row, "solved") if row in {3, 4} else Done(row, Thing(f"text {row}"), row / 4))
    return found


async def filled(folder: Path) -> Path:
    """A closed ledger of several shards; returns the folder of its shards."""
    ledger = ledger_in(folder)
    ledger.open()
    for outcome in outcomes():
        await ledger.append(outcome)
    await ledger.close()
    assert len(list((folder / "things").glob("*.jsonl"))) > 3
    return folder / "things"


def known(folder: Path) -> dict[str, Any]:
    """All that a ledger says of its rows without reading their lines, and then their lines."""
    ledger = ledger_in(folder)
    ledger.look()
    rows = range(ROWS + 5)
    statuses = [ledger.status(row) for row in rows]
    return {
        "statuses": statuses,
        "tally": {status: ledger.tally[status] for status in RowStatus if status},
        "seconds": list(ledger.seconds())[:ROWS],
        "failed": ledger.ever_failed(),
        "outcomes": [ledger.read(row) for row, status in zip(rows, statuses, strict=True) if status],
        "records": list(ledger.records()),
    }


def without_index(folder: Path, shards: Path) -> dict[str, Any]:
    for number in indexes(shards):
        index.index_path(shards / number).unlink()
    return known(folder)


def indexes(shards: Path) -> set[str]:
    """The numbers of the shards that have one."""
    return {path.name for path in shards.with_name(f"{shards.name}.index").glob("*")}


def numbers_of(shards: Path) -> set[str]:
    """The numbers of the shards."""
    return {path.stem for path in shards.glob("*.jsonl")}


def change(path: Path, how: Callable[[bytes], bytes], *, quietly: bool) -> None:
    """Change a file; ``quietly``: so that the time of its last change stays."""
    before = path.stat()
    path.write_bytes(how(path.read_bytes()))
    if quietly:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_every_shard_of_a_closed_ledger_has_an_index_and_it_says_what_the_lines_say(tmp_path: Path) -> None:
    shards = await filled(tmp_path)
    assert indexes(shards) == numbers_of(shards)
    found = known(tmp_path)
    assert found == without_index(tmp_path, shards)
    assert found["statuses"][3] is RowStatus.DROPPED
    assert found["tally"] == {RowStatus.DONE: 34, RowStatus.DROPPED: 2, RowStatus.FAILED: 4}


async def test_a_start_by_an_index_reads_no_line_and_damage_is_named_when_its_line_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, time and end are as they were: a bit that the disk has flipped."""
    monkeypatch.setattr(index, "_TAIL", 10)
    shards = await filled(tmp_path)
    change(shard_path(shards, 1), lambda content: content.replace(b'"text":"text ', b'"text":"test '), quietly=True)
    ledger = ledger_in(tmp_path)
    ledger.open()
    refused = []
    for row in range(ROWS):
        if ledger.status(row):
            try:
                ledger.read(row)
            except ConfigError as error:
                refused.append(str(error))
    assert refused
    assert all("things/00001.jsonl: line " in said and "its checksum does not match" in said for said in refused)
    with pytest.raises(ConfigError, match=r"things/00001\.jsonl: line \d+ is damaged"):
        list(ledger.records())
    with pytest.raises(ConfigError, match=r"things/00001\.jsonl: line \d+ is damaged"):
        ledger.each_done(Thing, lambda _done: None)
    await ledger.close()


@pytest.mark.parametrize("number", [0, 1])
async def test_damage_in_a_shard_that_looks_changed_is_named_by_the_start(tmp_path: Path, number: int) -> None:
    shards = await filled(tmp_path)
    change(shard_path(shards, number), lambda content: content.replace(b"text ", b"test ", 1), quietly=False)
    with pytest.raises(ConfigError, match=rf"things/0000{number}\.jsonl: line \d+ is damaged"):
        ledger_in(tmp_path).look()
    with pytest.raises(ConfigError, match=rf"things/0000{number}\.jsonl: line \d+ is damaged"):
        ledger_in(tmp_path).open()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(lambda content: content[: content.rstrip(b"\n").rfind(b"\n") + 1], id="a line fewer"),
        pytest.param(lambda content: content + content.splitlines(keepends=True)[0], id="a line more"),
        pytest.param(lambda content: b"".join(reversed(content.splitlines(keepends=True))), id="another order"),
    ],
)
async def test_an_index_is_not_believed_when_size_or_end_of_the_shard_differ(
    tmp_path: Path, how: Callable[[bytes], bytes]
) -> None:
    """Though its time is the same."""
    shards = await filled(tmp_path)
    before = known(tmp_path)
    change(shard_path(shards, 2), how, quietly=True)
    found = known(tmp_path)
    assert found == without_index(tmp_path, shards)
    if len(shard_path(shards, 2).read_bytes()) < SMALL / 2:
        assert found != before


async def test_an_index_is_not_believed_when_the_shard_was_written_since(tmp_path: Path) -> None:
    """By content of the same size and with the same last bytes."""
    folder = tmp_path / "things"
    await write(folder, range(600))
    assert index.load(shard_path(folder, 0), LAYOUT) is not None
    os.utime(shard_path(folder, 0))
    assert index.load(shard_path(folder, 0), LAYOUT) is None


@pytest.mark.slow
async def test_a_damaged_index_is_never_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any bit of any byte flipped, cut anywhere, more at its end, of another layout."""
    monkeypatch.setattr(index, "_BLOCK", 2)
    folder = tmp_path / "things"
    await write(folder, range(3))
    shard = shard_path(folder, 0)
    path = index.index_path(shard)
    content = path.read_bytes()
    whole = index.load(shard, LAYOUT)
    assert whole is not None
    assert list(whole["n"]) == [0, 1, 2]
    believed = []
    for at in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            if index.load(shard, LAYOUT) is not None:
                believed.append((at, bit))
        path.write_bytes(content[:at])
        if index.load(shard, LAYOUT) is not None:
            believed.append((at, -1))
    path.write_bytes(content + b"x")
    assert index.load(shard, LAYOUT) is None
    assert believed == []
    path.write_bytes(content)
    assert index.load(shard, Layout("another", LAYOUT.columns, LAYOUT.read)) is None
    assert index.load(shard, LAYOUT) is not None


async def test_a_missing_index_is_made_again_by_a_run_and_by_nobody_who_only_looks(tmp_path: Path) -> None:
    shards = await filled(tmp_path)
    before = without_index(tmp_path, shards)
    assert known(tmp_path) == before
    assert not indexes(shards)
    ledger = ledger_in(tmp_path)
    ledger.open()
    last = max(shards.glob("*.jsonl")).stem
    assert indexes(shards) == numbers_of(shards) - {last}
    await ledger.append(Done(ROWS + 1, Thing("more")))
    await ledger.close()
    assert known(tmp_path)["outcomes"] == [*before["outcomes"], Done(ROWS + 1, Thing("more"))]
    assert known(tmp_path) == without_index(tmp_path, shards)


async def test_what_is_added_to_a_shard_that_has_an_index_is_in_the_next_index(tmp_path: Path) -> None:
    shards = await filled(tmp_path)
    for row in range(ROWS, ROWS + 4):
        ledger = ledger_in(tmp_path, 1 << 20)
        ledger.open()
        await ledger.append(Done(row, Thing("more"), 0.5))
        await ledger.close()
        assert index.load(max(shards.glob("*.jsonl")), ledger._shards._layout) is not None
    assert known(tmp_path) == without_index(tmp_path, shards)


async def test_after_a_kill_the_lines_of_the_last_shard_are_read_and_its_torn_end_is_cut(tmp_path: Path) -> None:
    killed = ledger_in(tmp_path)
    killed.open()
    for outcome in outcomes():
        await killed.append(outcome)
    shards = tmp_path / "things"
    last = max(shards.glob("*.jsonl"))
    assert indexes(shards) == numbers_of(shards) - {last.stem}
    with last.open("ab") as file:
        file.write(b'{"xxh64":"01')
    following = ledger_in(tmp_path)
    following.open()
    assert following.cut is not None
    assert following.cut.size == len(b'{"xxh64":"01')
    assert following.tally[RowStatus.DONE] == 34
    await following.close()
    await killed.close()


async def test_a_line_whose_caller_was_cancelled_is_in_the_index(tmp_path: Path) -> None:
    shards = shards_in(tmp_path / "things")
    shards.open(lambda _shard, _lines: None)
    task = asyncio.create_task(shards.append(*numbered(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await shards.close()
    stored = index.load(shard_path(tmp_path / "things", 0), LAYOUT)
    assert stored is not None
    assert list(stored["n"]) == [1]


async def test_an_index_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    """A folder is in its place."""
    for number in range(5):
        (tmp_path / "things.index" / f"{number:05d}" / "x").mkdir(parents=True)
    await filled(tmp_path)
    assert known(tmp_path)["tally"][RowStatus.DONE] == 34


async def test_what_a_killed_writer_of_an_index_left_is_removed(tmp_path: Path) -> None:
    shards = await filled(tmp_path)
    (tmp_path / "things.index" / ".00001.abcdefgh.tmp").write_bytes(b"half")
    ledger = ledger_in(tmp_path)
    ledger.open()
    await ledger.close()
    assert indexes(shards) == numbers_of(shards)


def test_the_index_of_a_shard_that_failed_to_be_written_is_not_kept(tmp_path: Path) -> None:
    """What is on the disk may be less than what was to be written."""

    async def fail() -> None:
        shards = shards_in(tmp_path / "things")
        shards.open(lambda _shard, _lines: None)
        await shards.append(*numbered(1))
        os.close(shards._fd)
        shards._fd = os.open("/dev/full", os.O_WRONLY)
        refused = await asyncio.gather(shards.append(*numbered(2)), return_exceptions=True)
        assert isinstance(refused[0], Exception)
        await asyncio.gather(shards.close(), return_exceptions=True)

    asyncio.run(fail())
    assert not indexes(tmp_path / "things")


async def test_an_index_whose_temporary_file_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    """A file is in the place of its folder."""
    (tmp_path / "things.index").write_bytes(b"")
    await filled(tmp_path)
    assert known(tmp_path)["tally"][RowStatus.DONE] == 34
