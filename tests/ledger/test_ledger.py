"""Ledgers: what is acknowledged survives, tails cut anywhere are repaired, and memory holds only an index."""

import asyncio
import json
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
from weak2wise.ledger.files import locked, write_atomic
from weak2wise.ledger.lines import HEAD
from weak2wise.ledger.manifest import load_manifest, settle
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, RowStatus
from weak2wise.ledger.shards import DiskError, Shards

MEGABYTE = 1 << 20


def shards_in(folder: Path, max_bytes: int = MEGABYTE) -> Shards:
    return Shards(folder, max_bytes=max_bytes, fsync_seconds=0.01)


def read_back(folder: Path, max_bytes: int = MEGABYTE) -> list[bytes]:
    """What a later process finds: every line must be whole JSON."""
    lines: list[bytes] = []

    def on_line(_location: int, line: bytes) -> None:
        lines.append(bare(line))

    shards = shards_in(folder, max_bytes)
    shards.open(on_line)
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
    shards.open(lambda _location, line: msgspec.json.decode(line))
    try:
        return await asyncio.gather(*(shards.append(line_of(n)) for n in numbers))
    finally:
        await shards.close()


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


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(20, 200))
def test_locations_lead_back_to_their_lines_across_shards(count: int, max_bytes: int) -> None:
    async def check(folder: Path) -> None:
        locations = await write(folder, range(count), max_bytes)
        shards = shards_in(folder, max_bytes)
        shards.open(lambda _location, line: msgspec.json.decode(line))
        assert [shards.read(location, bare) for location in locations] == [line_of(n) for n in range(count)]
        await shards.close()
        for shard in folder.iterdir():
            assert shard.stat().st_size <= max(max_bytes, *(HEAD + len(line_of(n)) for n in range(count)))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


async def test_an_append_that_is_cancelled_while_waiting_is_still_written(tmp_path: Path) -> None:
    shards = shards_in(tmp_path)
    shards.open(lambda _location, _line: None)
    task = asyncio.create_task(shards.append(line_of(1)))
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
    shards.open(lambda _location, _line: None)
    try:
        await shards.append(line_of(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEAD + 30, old[1]))
        refused = await asyncio.gather(*(shards.append(line_of(n)) for n in range(2, 9)), return_exceptions=True)
        assert {(type(error), "File too large" in str(error)) for error in refused} == {(DiskError, True)}
        assert len(refused) == 7
        with pytest.raises(DiskError):
            await shards.append(line_of(9))
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


class TestManifest:
    """A work_dir goes on only with what it was begun with."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        path = tmp_path / "in.jsonl"
        path.write_text("one\ntwo\n")
        return path

    def test_the_same_settings_go_on(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1"}, data, "auto")
        assert settle(tmp_path, {"a": "1"}, data, "auto") == []

    def test_changed_keys_are_refused_by_name(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"params.beta": "1", "same": "x"}, data, "auto")
        with pytest.raises(ConfigError, match=r"Changed since: params\.beta, params\.n_mask\."):
            settle(tmp_path, {"params.beta": "2", "params.n_mask": "3", "same": "x"}, data, "auto")

    def test_a_key_that_an_older_manifest_lacks_counts_as_its_default(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1"}, data, "auto")
        before = (tmp_path / "manifest.json").read_bytes()
        assert settle(tmp_path, {"a": "1", "new": "x"}, data, "auto", defaults={"a": "0", "new": "x"}) == []
        assert (tmp_path / "manifest.json").read_bytes() == before
        with pytest.raises(ConfigError, match=r"Changed since: new\."):
            settle(tmp_path, {"a": "1", "new": "y"}, data, "auto", defaults={"a": "0", "new": "x"})

    def test_force_goes_on_and_says_what_changed(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1"}, data, "auto")
        assert settle(tmp_path, {"a": "2"}, data, "force") == ["a"]
        assert settle(tmp_path, {"a": "2"}, data, "auto") == []

    def test_a_begun_work_dir_keeps_its_rules_until_it_starts_over(self, tmp_path: Path, data: Path) -> None:
        def rules() -> int:
            manifest = load_manifest(tmp_path / "manifest.json")
            assert manifest is not None
            return manifest.rules

        settle(tmp_path, {"a": "1"}, data, "auto", rules=2)
        assert rules() == 2
        settle(tmp_path, {"a": "1"}, data, "auto", rules=3)
        settle(tmp_path, {"a": "2"}, data, "force", rules=3)
        assert rules() == 2
        written = json.loads((tmp_path / "manifest.json").read_text())
        del written["rules"]
        (tmp_path / "manifest.json").write_text(json.dumps(written))
        settle(tmp_path, {"a": "3"}, data, "force", rules=3)
        assert rules() == 1, "a manifest without them was begun with the first"
        settle(tmp_path, {"a": "3"}, data, "never", rules=3)
        assert rules() == 3

    def test_a_changed_input_is_refused_even_by_force(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {}, data, "auto")
        data.write_text("ONE\ntwo\nthree\n")
        with pytest.raises(ConfigError, match="the content of") as caught:
            settle(tmp_path, {}, data, "auto")
        assert "--resume force" not in str(caught.value)
        with pytest.raises(ConfigError, match="first 8 bytes"):
            settle(tmp_path, {}, data, "force")

    @pytest.mark.parametrize(("more", "allowed"), [("three\n", True), ("", True)])
    def test_force_allows_lines_added_at_the_end(self, tmp_path: Path, data: Path, more: str, allowed: bool) -> None:
        settle(tmp_path, {}, data, "auto")
        with data.open("a") as file:
            file.write(more)
        assert (settle(tmp_path, {}, data, "force") == []) is allowed

    def test_an_input_that_force_has_accepted_is_the_input_from_then_on(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1"}, data, "auto")
        data.write_text("one\ntwo\nthree\n")
        settle(tmp_path, {"a": "1"}, data, "force")
        assert settle(tmp_path, {"a": "1"}, data, "auto") == []

    def test_a_key_that_is_gone_is_a_change(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1", "b": "2"}, data, "auto")
        with pytest.raises(ConfigError, match=r"Changed since: b\."):
            settle(tmp_path, {"a": "1"}, data, "auto")

    def test_force_keeps_the_day_on_which_the_run_began(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1"}, data, "auto")
        path = tmp_path / "manifest.json"
        begun = json.loads(path.read_text())
        assert begun["created"] > "2020"
        path.write_text(json.dumps(begun | {"created": "2021-01-01T00:00:00Z"}))
        settle(tmp_path, {"a": "2"}, data, "force")
        assert json.loads(path.read_text())["created"] == "2021-01-01T00:00:00Z"

    def test_text_added_to_an_open_last_line_is_another_input(self, tmp_path: Path, data: Path) -> None:
        data.write_text("one\ntwo")
        settle(tmp_path, {}, data, "auto")
        data.write_text("one\ntwofold\n")
        with pytest.raises(ConfigError, match="first 7 bytes"):
            settle(tmp_path, {}, data, "force")

    def test_never_starts_anew_and_keeps_the_old_ledger_aside(self, tmp_path: Path, data: Path) -> None:
        settle(tmp_path, {"a": "1"}, data, "auto")
        (tmp_path / "ledger").mkdir()
        (tmp_path / "ledger" / "paid").write_text("for")
        settle(tmp_path, {"a": "2"}, data, "never")
        assert not (tmp_path / "ledger").exists()
        (kept,) = tmp_path.glob("ledger.before-*/paid")
        assert kept.read_text() == "for"
        assert json.loads((tmp_path / "manifest.json").read_text())["shape"] == {"a": "2"}

    def test_a_ledger_whose_manifest_is_gone_is_not_gone_on_with_unasked(self, tmp_path: Path, data: Path) -> None:
        (tmp_path / "ledger" / "filter").mkdir(parents=True)
        (tmp_path / "ledger" / "filter" / "00000.jsonl").touch()
        with pytest.raises(ConfigError, match="Restore it, or pass --resume force"):
            settle(tmp_path, {"a": "1"}, data, "auto")
        assert settle(tmp_path, {"a": "1"}, data, "force") == []
        (tmp_path / "manifest.json").unlink()
        settle(tmp_path, {"a": "1"}, data, "never")
        assert list(tmp_path.glob("ledger.before-*/filter/00000.jsonl"))

    def test_a_damaged_manifest_is_told_so(self, tmp_path: Path, data: Path) -> None:
        (tmp_path / "manifest.json").write_text("{")
        with pytest.raises(ConfigError, match="cannot be read as a manifest"):
            settle(tmp_path, {}, data, "auto")


def test_looking_sees_every_whole_line_and_leaves_a_torn_tail_to_its_writer(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(4)))
    path = tmp_path / "00000.jsonl"
    os.truncate(path, path.stat().st_size - 4)
    before = (tmp_path / "00000.jsonl").read_bytes()
    seen: list[bytes] = []
    shards_in(tmp_path).look(lambda _location, line: seen.append(bare(line)))
    assert seen == [line_of(n) for n in range(3)]
    assert (tmp_path / "00000.jsonl").read_bytes() == before
    shards_in(tmp_path / "nowhere").look(lambda _location, line: seen.append(line))
    assert not (tmp_path / "nowhere").exists()
    assert len(seen) == 3
