"""Damage to a shard is named by file and line and never taken for a torn end; nothing is changed by finding it."""

import asyncio
import gzip
import os
import re
from pathlib import Path

import pytest

from tests.ledger.test_ledger import MEGABYTE, Thing, bare, ignore, line_of, read_back, shards_in, write
from weak2wise.errors import ConfigError
from weak2wise.ledger.lines import sealed
from weak2wise.ledger.outcomes import Done, Ledger, Outcome
from weak2wise.llm.journal import Journal

OLD = b'{"row":%d,"key":"","role":"weak","endpoint":"e","completion":{"text":"%s"}}\n'


def shard(folder: Path, number: int = 0) -> Path:
    return folder / f"{number:05d}.jsonl"


def refused(folder: Path, max_bytes: int = MEGABYTE) -> str:
    """What is said of damage, the same by the run and by readers; the files stay as they are."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConfigError) as opened:
        read_back(folder, max_bytes)
    with pytest.raises(ConfigError) as looked:
        shards_in(folder).look(ignore)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert str(opened.value) == str(looked.value)
    assert "weak2wise repair" in str(opened.value)
    return str(opened.value)


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_named_by_file_and_line(tmp_path: Path) -> None:
    """Any bit of any byte: in the text, where the line still decodes, in the checksum and its key, in a line break."""
    asyncio.run(write(tmp_path, range(3)))
    content = shard(tmp_path).read_bytes()
    silent = []
    for at in range(len(content)):
        line = content[:at].count(b"\n") + 1
        for bit in range(8):
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            shard(tmp_path).write_bytes(flipped)
            if f"00000.jsonl: line {line} is damaged" not in refused(tmp_path):
                silent.append((at, bit))
    assert silent == []


@pytest.mark.parametrize(
    "end",
    [
        *(b"\0" * 9 + b"\n", b"rubbish\n", b"\0" * 9 + b"}\n\0\0", b"rubbish", b"\x01\x02\0\0", b'{"xxh64":"\0x', b"}"),
        b'{"row":3,"key":"\xff',
        pytest.param(b'{"row":' + b"[" * 200_000, id="nested"),
    ],
)
def test_what_no_power_cut_leaves_at_the_end_is_refused(tmp_path: Path, end: bytes) -> None:
    asyncio.run(write(tmp_path, range(3)))
    with shard(tmp_path).open("ab") as file:
        file.write(end)
    assert "00000.jsonl: line 4 is damaged" in refused(tmp_path)


@pytest.mark.parametrize("more", [b"x", b"rubbish"])
@pytest.mark.parametrize("old", [True, False])
def test_a_whole_line_whose_line_break_is_damaged_is_not_torn(tmp_path: Path, more: bytes, old: bool) -> None:
    asyncio.run(write(tmp_path, range(3)))
    content = shard(tmp_path).read_bytes() + (OLD % (3, b"x") if old else b"")
    shard(tmp_path).write_bytes(content[:-1] + more)
    assert f"00000.jsonl: line {4 if old else 3} is damaged" in refused(tmp_path)


@pytest.mark.parametrize(
    "cut",
    [
        *(
            b"",
            b"{",
            b'{"row":3,"key":"a word, ',
            b'{"row"',
            b'{"row":3,"key":"\xc3',
            b'{"status":"do',
            b'{"xxh64":"01',
        ),
        pytest.param(b'{"row":' + b"9" * 5000, id="digits"),
    ],
)
@pytest.mark.parametrize("zeros", [0, 1, 5000])
def test_the_beginning_of_a_line_and_zeros_are_cut_and_reported(tmp_path: Path, cut: bytes, zeros: int) -> None:
    asyncio.run(write(tmp_path, range(3)))
    whole = shard(tmp_path).stat().st_size
    with shard(tmp_path).open("ab") as file:
        file.write(cut + b"\0" * zeros)
    shards = shards_in(tmp_path)
    shards.open(ignore)
    assert shards.cut == ((shard(tmp_path), whole, len(cut) + zeros) if cut or zeros else None)
    asyncio.run(shards.close())
    assert shard(tmp_path).stat().st_size == whole


def test_a_torn_end_of_an_earlier_shard_is_refused(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(6), 120))
    first = shard(tmp_path)
    lines = first.read_bytes().count(b"\n")
    os.truncate(first, first.stat().st_size - 3)
    assert f"00000.jsonl: line {lines} is damaged: it has no end" in refused(tmp_path, 120)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2000])
def test_a_shard_packed_in_place_is_refused_and_the_packer_named(tmp_path: Path, size: int) -> None:
    """A small one holds no line break at all."""
    asyncio.run(write(tmp_path, range(size)))
    shard(tmp_path).write_bytes(gzip.compress(shard(tmp_path).read_bytes()))
    assert "00000.jsonl: line 1 is damaged: gzip has packed the file; unpack it" in refused(tmp_path)


def test_a_missing_shard_is_named_and_what_is_in_its_place(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(6), 120))
    shard(tmp_path, 1).rename(tmp_path / "00001.jsonl.gz")
    assert "00001.jsonl: the file is missing; there is 00001.jsonl.gz" in refused(tmp_path, 120)
    (tmp_path / "00001.jsonl.gz").unlink()
    assert "00001.jsonl: the file is missing." in refused(tmp_path, 120)


def test_the_only_shard_packed_under_another_name_is_no_empty_ledger(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(2)))
    shard(tmp_path).rename(tmp_path / "00000.jsonl.zst")
    assert "00000.jsonl: the file is missing; there is 00000.jsonl.zst" in refused(tmp_path)


def test_a_line_nested_too_deeply_is_damage(tmp_path: Path) -> None:
    shard(tmp_path).write_bytes(b'{"row":' + b"[" * 200_000 + b"\n" + OLD % (1, b"x"))
    assert "00000.jsonl: line 1 is damaged" in refused(tmp_path)


@pytest.mark.parametrize(
    "line", [b'{"status":"dpne","row":1,"record":{"text":"x"}}', b'{"status":"done","row":-1,"record":{"text":"x"}}']
)
def test_an_old_outcome_that_decodes_but_says_nothing_known_is_damage(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "things").mkdir()
    shard(tmp_path / "things").write_bytes(line + b"\n")
    ways = f"`weak2wise repair {tmp_path.parent}` sets"
    with pytest.raises(ConfigError, match=rf"things/00000\.jsonl: line 1 is damaged.*{re.escape(ways)}"):
        Ledger("things", tmp_path, Thing, max_bytes=MEGABYTE, fsync_seconds=1).look()


async def test_an_old_record_that_is_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    good = b'{"status":"done","row":1,"record":{"text":"x"}}\n'
    shard(tmp_path / "things").write_bytes(good + good.replace(b'"row":1', b'"row":2').replace(b'"text"', b'"tixt"'))
    ledger: Ledger[Thing] = Ledger("things", tmp_path, Thing, max_bytes=MEGABYTE, fsync_seconds=1)
    ledger.look()
    assert ledger.read(1) == Done(1, Thing("x"))
    with pytest.raises(ConfigError, match=r"things/00000\.jsonl: line 2 is damaged"):
        await ledger.fetch(2)


async def test_a_line_damaged_after_it_was_read_is_named_when_it_is_used(tmp_path: Path) -> None:
    """The location leads to the line; what stands there now is another text that decodes as well."""
    ledger: Ledger[Thing] = Ledger("things", tmp_path, Thing, max_bytes=MEGABYTE, fsync_seconds=1)
    ledger.open()
    outcomes: list[Outcome[Thing]] = [Done(row, Thing(f"text {row}")) for row in range(1, 4)]
    for outcome in outcomes:
        await ledger.append(outcome)
    path = shard(tmp_path / "things")
    path.write_bytes(path.read_bytes().replace(b"text 2", b"test 2"))
    assert [ledger.read(row) for row in (1, 3)] == [outcomes[0], outcomes[2]]
    with pytest.raises(ConfigError, match=r"things/00000\.jsonl: line 2 is damaged"):
        ledger.read(2)
    await ledger.close()


def test_every_line_of_a_shard_is_json_with_a_checksum_of_the_rest(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(5)))
    lines = shard(tmp_path).read_bytes().splitlines(keepends=True)
    assert [bare(line) for line in lines] == [line_of(number) for number in range(5)]
    assert all(re.fullmatch(rb'\{"xxh64":"[0-9a-f]{16}","n":\d,"pad":"x*"\}\n', line) for line in lines)


def test_a_line_that_is_sealed_apart_is_what_the_shards_write(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path, range(3)))
    assert b"".join(sealed(line_of(number)) for number in range(3)) == shard(tmp_path).read_bytes()


def test_an_answer_whose_key_is_no_number_is_damage(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    shard(tmp_path / "journal").write_bytes((OLD % (1, b"x")).replace(b'"key":""', b'"key":"0123456789abcdxx"'))
    journal = Journal(tmp_path, max_bytes=MEGABYTE, fsync_seconds=1)
    with pytest.raises(ConfigError, match=r"journal/00000\.jsonl: line 1 is damaged"):
        journal.open(lambda _role: b"")
