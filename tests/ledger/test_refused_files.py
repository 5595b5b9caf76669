"""Files that cannot be read, written, locked or closed: each is refused or passed over in words, and nothing stays."""

import asyncio
import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from tests.ledger.test_ledger import ignore, line_of, numbered, read_back, shards_in, write
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import holder, locked
from weak2wise.ledger.manifest import digest_input, load_manifest
from weak2wise.ledger.reading import Damage, line_number
from weak2wise.ledger.repair import kept_in_file, take_out
from weak2wise.ledger.shards import DiskError


def test_what_is_no_folder_of_shards_is_refused_by_those_who_write_and_by_those_who_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"Not a directory|File exists") as caught:
        shards_in(tmp_path / "file").open(ignore)
    assert caught.value.hint == "Move what is at that path somewhere else; nothing acknowledged is lost."
    (tmp_path / "shards" / "00000.jsonl").mkdir(parents=True)
    with pytest.raises(DiskError, match="Is a directory"):
        shards_in(tmp_path / "shards").look(ignore)


async def test_a_close_that_fails_is_reported_and_closes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_in(tmp_path)
    shards.open(ignore)
    await shards.append(*numbered(1))
    close = os.close

    def failing(fd: int) -> None:
        close(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "close", failing)
    with pytest.raises(DiskError, match="Input/output error"):
        await shards.close()
    monkeypatch.undo()
    assert await asyncio.to_thread(read_back, tmp_path) == [line_of(1)]


def test_where_only_files_can_be_locked_the_file_alone_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock

    def files_only(fd: int, how: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):  # noqa: PTH112
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", files_only)
    with locked(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(ConfigError, match="in use by another engine"), locked(tmp_path):
            pass
        (tmp_path / "lock").unlink()
        assert holder(tmp_path) is None, "nothing is known of it"
    monkeypatch.undo()


def test_an_input_or_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: no such file \(dataset.input_path\)"):
        digest_input(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory \(dataset.input_path\)"):
        digest_input(tmp_path)
    assert load_manifest(tmp_path / "manifest.json") is None
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory; name the dataset\.work_dir of a run"):
        load_manifest(tmp_path)


def damage_in(work: Path, number: int, line: int) -> Damage:
    return Damage(work / "ledger" / "a" / f"{number:05d}.jsonl", line, "why", b"damaged \xff\n")


def test_damaged_lines_are_kept_one_after_another_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    with kept_in_file(path) as keep:
        assert not path.exists(), "it is made when the first one comes"
        for number, line in ((0, 7), (1, 0)):
            keep(damage_in(tmp_path, number, line))
    assert path.stat().st_mode & 0o777 == 0o600
    kept = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(one["file"], one["line"]) for one in kept] == [("ledger/a/00000.jsonl", 7), ("ledger/a/00001.jsonl", 0)]


@pytest.mark.parametrize("lines", [0, 2])
def test_after_an_error_no_file_of_damaged_lines_stays(tmp_path: Path, lines: int) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ZeroDivisionError), kept_in_file(tmp_path / "damaged.jsonl") as keep:
        for line in range(lines):
            keep(damage_in(tmp_path, 0, line))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_lines_are_taken_out_by_number_and_a_missing_shard_becomes_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "00000.jsonl"
    take_out(path, {1: b"x"})
    assert path.read_bytes() == b""
    path.write_bytes(b"one\ntwo\nthree\nfour")
    take_out(path, {1: b"", 3: b"III\n", 9: b"nothing"})
    assert path.read_bytes() == b"two\nIII\nfour"


def test_the_number_of_a_line_is_that_of_the_one_that_begins_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n" + b"x" * 3_000_000 + b"\nlast\n")
    places = [0, 4, 8, 3_000_009]
    assert [line_number(path, place) for place in places] == [1, 2, 3, 4]


def test_a_write_after_a_torn_end_is_on_a_line_of_its_own(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(2)))
    with (tmp_path / "00000.jsonl").open("ab") as file:
        file.write(b'{"xxh64":"0123')
    asyncio.run(write(tmp_path, range(2, 4)))
    assert read_back(tmp_path) == [line_of(number) for number in range(4)]
