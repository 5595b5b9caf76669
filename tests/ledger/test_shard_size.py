"""How large a shard becomes, how many there may be, and what closing closes."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.ledger.test_ledger import ignore, ledger_in, line_of, numbered, shards_in
from weak2wise.ledger.lines import HEAD
from weak2wise.ledger.outcomes import Dropped, Failed, RowStatus, columns_of, settings_of
from weak2wise.ledger.places import location_of, place_of
from weak2wise.ledger.reading import shard_numbers

LINE = HEAD + len(line_of(7))


async def append(folder: Path, count: int, max_bytes: int) -> None:
    """So many lines of one length."""
    shards = shards_in(folder, max_bytes)
    shards.open(ignore)
    await asyncio.gather(*(shards.append(*numbered(7)) for _ in range(count)))
    await shards.close()


@pytest.mark.parametrize(("max_bytes", "a_shard"), [(3 * LINE, 3), (3 * LINE - 1, 2), (1, 1)])
def test_a_shard_is_filled_up_to_its_size_and_holds_a_line_at_least(
    tmp_path: Path, max_bytes: int, a_shard: int
) -> None:
    """Also across restarts."""
    for count in (7, 5):
        asyncio.run(append(tmp_path, count, max_bytes))
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert sizes == [a_shard * LINE] * (12 // a_shard)


def test_a_location_holds_every_place_of_four_million_shards_of_a_terabyte() -> None:
    for place in ((0, 0), (0, 2**40 - 1), (1, 0), (12, 345), (2**22 - 1, 2**40 - 1)):
        assert place_of(location_of(*place)) == place
    assert location_of(2**22 - 1, 2**40 - 1) == 2**62 - 1
    assert location_of(1, 0) == location_of(0, 2**40 - 1) + 1


def test_other_files_of_the_folder_are_no_shards(tmp_path: Path) -> None:
    assert list(shard_numbers(tmp_path)) == []
    for name in ("7.jsonl", "000007.jsonl", "x00007.jsonl", "00007.json", ".00007.jsonl.tmp"):
        (tmp_path / name).touch()
    assert list(shard_numbers(tmp_path)) == []
    (tmp_path / "00002.jsonl").touch()
    assert list(shard_numbers(tmp_path)) == [0, 1, 2]


async def test_closing_what_was_never_opened_or_is_closed_closes_nobody_s_file(tmp_path: Path) -> None:
    standard = [os.fstat(fd).st_ino for fd in range(3)]
    shards = shards_in(tmp_path / "never")
    await shards.close()
    shards = shards_in(tmp_path / "twice")
    shards.open(ignore)
    await shards.close()
    await shards.close()
    assert [os.fstat(fd).st_ino for fd in range(3)] == standard


@pytest.mark.parametrize("row", [0, 1, 1023, 1024, 1025, 5000])
async def test_any_row_may_be_the_first(tmp_path: Path, row: int) -> None:
    ledger = ledger_in(tmp_path)
    await ledger.append(Dropped(row, "too_easy"))
    assert [ledger.status(at) for at in (row, row + 1)] == [RowStatus.DROPPED, RowStatus.NONE]
    assert row in ledger.rows()
    assert +ledger.tally == {RowStatus.DROPPED: 1}
    await ledger.close()


def test_an_outcome_s_settings_are_the_first_where_it_names_none_and_no_column_of_it() -> None:
    dropped = Dropped(1, "too_easy")
    assert (settings_of(dropped), settings_of(Dropped(1, "too_easy", 3))) == (0, 3)
    assert columns_of(Dropped(1, "too_easy", 3)) == {"row": 1, "reason": "too_easy", "detail": None}
    assert columns_of(Failed(row=2, stage="a", kind="timeout", message="no answer")) == {
        "row": 2,
        "stage": "a",
        "kind": "timeout",
        "message": "no answer",
        "endpoint": None,
        "attempts": 0,
        "title": "",
        "trials": 1,
        "id": None,
    }
