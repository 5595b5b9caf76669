"""Facts of lines in columns, and lines, in blocks: the same as all at once, and few of them in memory."""

import asyncio
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.ledger.test_ledger import shards_in, write
from weak2wise.ledger import index
from weak2wise.ledger.columns import Columns, Layout
from weak2wise.ledger.reading import shard_path


@given(st.lists(st.integers(-(1 << 70), 1 << 70), max_size=8), st.lists(st.integers(0, 1 << 40), max_size=8))
@settings(deadline=None)
def test_numbers_of_any_size_come_back(numbers: list[int], sizes: list[int]) -> None:
    """Up to 64 bits; beyond them the nearest that fits."""
    layout = Layout("numbers", {"n": "B", "word": "text"}, lambda _line: ())
    lines = Columns(layout)
    for number, size in zip(numbers, sizes, strict=False):
        lines.add(size, (number, f"w{number % 300}"))
    taken = list(zip(numbers, sizes, strict=False))
    fitting = [max(-(1 << 63), min((1 << 63) - 1, number)) for number, _ in taken]
    assert list(lines["n"]) == fitting
    assert list(lines.sizes) == [size for _, size in taken]
    assert [lines.texts[at] for at in lines["word"]] == [f"w{number % 300}" for number, _ in taken]


LINES = st.lists(st.tuples(st.integers(1, 1 << 18), st.integers(-(1 << 40), 1 << 40), st.floats(0, 9)), max_size=30)


@given(LINES, LINES, st.integers(1, 9))
@settings(deadline=None)
def test_an_index_written_in_blocks_says_what_all_lines_say(before: Any, after: Any, block: int) -> None:
    """Also when it goes on from an index, and when numbers need more room from some line on."""

    def kinds(lines: Columns, so_far: list[Any]) -> list[Any]:
        """How often each word occurs."""
        so_far += [0] * (len(lines.texts) - len(so_far))
        return [count + list(lines["word"]).count(number) for number, count in enumerate(so_far)]

    layout = Layout("things", {"n": "B", "word": "text", "weight": "d"}, lambda _line: (), kinds)
    known = Columns(layout)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_BLOCK", block)
        shard = shard_path(Path(name) / "things", 0)
        shard.parent.mkdir()
        for lines in (before, after):
            with closing(index.Writer(shard.parent, index.load(shard, layout) or Columns(layout))) as writer:
                for size, number, weight in lines:
                    known.add(size, (number, f"w{number % 3}", weight))
                    writer.add(size, (number, f"w{number % 3}", weight))
                with shard.open("ab") as file:
                    file.truncate(sum(known.sizes))
                writer.save(shard)
        stored = index.load(shard, layout)
    assert stored is not None
    assert [list(stored[name]) for name in layout.columns] == [list(known[name]) for name in layout.columns]
    assert (list(stored.sizes), stored.texts, stored.sums) == (list(known.sizes), known.texts, known.sums)


def test_the_facts_of_a_long_shard_are_not_in_memory(tmp_path: Path) -> None:
    layout = Layout("things", {"n": "Q", "weight": "d"}, lambda _line: ())
    with closing(index.Writer(tmp_path / "things", Columns(layout))) as writer:
        tracemalloc.start()
        for number in range(30_000):
            writer.add(100, (number, 0.5))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 30_000 * 18 / 2


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(20, 5000), st.randoms(use_true_random=False))
def test_lines_read_in_blocks_are_the_lines_read_one_by_one(count: int, longest: int, rng: Any) -> None:
    """In nearly any order, some longer than a block, over several shards."""
    from weak2wise.ledger import blocks  # noqa: PLC0415 - its block is made small

    async def check(folder: Path) -> None:
        locations = await write(folder, range(count), longest)
        rng.shuffle(locations)
        shards = shards_in(folder, longest)
        assert list(shards.read_all(locations, bytes)) == [shards.read(at, bytes) for at in locations]

    size = blocks._BLOCK
    blocks._BLOCK = 50
    try:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(check(Path(name) / "shards"))
    finally:
        blocks._BLOCK = size
