"""The pipeline: every row ends once, work in flight is bounded, all stages run at once, and a stop is resumable."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from weak2wise.errors import RecordError, RunStopped
from weak2wise.ledger.account import Account
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, RowStatus
from weak2wise.ledger.shards import DiskError
from weak2wise.llm.drain import Drain
from weak2wise.llm.errors import Transient
from weak2wise.pipeline import Stage, run
from weak2wise.worker import Drop, Partial


class Item(Struct, frozen=True):
    """A record that remembers which steps it went through."""

    row: int
    trail: tuple[str, ...] = ()

    @property
    def id(self) -> str | None:
        return f"q{self.row}"

    @property
    def title(self) -> str:
        return f"item {self.row}"


Step = Callable[[Item], Awaitable[Item | Partial[Item] | Drop]]


def through(name: str) -> Step:
    async def step(item: Item) -> Item | Drop:
        await asyncio.sleep(0)
        return Item(item.row, (*item.trail, name))

    return step


@dataclass
class Line:
    """A pipeline over one folder; opening it again is what a new process would find."""

    folder: Path
    steps: dict[str, Step]
    concurrency: int = 3
    queue_size: int = 2
    salvage_rounds: int = 0

    def __post_init__(self) -> None:
        self.intake = self._ledger("input", object)
        self.stages = [
            Stage(
                name,
                step,
                self._ledger(name, Item),
                concurrency=self.concurrency,
                queue_size=self.queue_size,
                max_error_rate=1.0,
            )
            for name, step in self.steps.items()
        ]
        self.account = Account(self.intake, {s.name: s.ledger for s in self.stages})
        self.finished: list[int] = []
        self.drain = Drain()
        self.read = 0

    def _ledger(self, name: str, kind: type[Any]) -> Ledger[Any]:
        ledger = Ledger(name, self.folder, kind, max_bytes=1 << 20, fsync_seconds=0.01)
        ledger.open()
        return ledger

    async def _source(self, rows: range, bad: frozenset[int]) -> AsyncIterator[Item | Failed]:
        for row in rows:
            self.read += 1
            yield Failed(row=row, stage="input", kind="not_json", message="bad") if row in bad else Item(row)

    async def go(self, rows: range, bad: frozenset[int] = frozenset()) -> None:
        try:
            await run(
                lambda: self._source(rows, bad),
                self.stages,
                account=self.account,
                drain=self.drain,
                finished=self.finished.append,
                salvage_rounds=self.salvage_rounds,
            )
        finally:
            for ledger in (self.intake, *(s.ledger for s in self.stages)):
                await ledger.close()

    def status(self, stage: str, row: int) -> RowStatus:
        return next(s for s in self.stages if s.name == stage).ledger.status(row)


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_stage_says_how_many_records_it_works_on(tmp_path: Path) -> None:
    seen = []

    async def step(item: Item) -> Item:
        await turns()
        seen.append(line.stages[0].busy)
        return item

    line = Line(tmp_path, {"only": step}, concurrency=3)
    await line.go(range(6))
    assert max(seen) == 3
    assert line.stages[0].busy == 0


async def test_every_row_ends_once_and_the_totals_balance(tmp_path: Path) -> None:
    async def second(item: Item) -> Item | Drop:
        if item.row % 5 == 0:
            return Drop("too_easy")
        if item.row % 7 == 0:
            raise RecordError("timeout", "no answer", endpoint="e", attempts=4)
        return item

    line = Line(tmp_path, {"a": through("a"), "b": second, "c": through("c")})
    await line.go(range(1, 101), bad=frozenset({3, 4}))
    result = line.account.totals(100)
    dropped = [r for r in range(1, 101) if r % 5 == 0]
    failed = [r for r in range(1, 101) if r % 7 == 0 and r % 5 and r not in {3, 4}]
    assert result.dropped == {"too_easy": len(dropped)}
    assert result.failed == {"b/timeout": len(failed), "input/not_json": 2}
    assert result.emitted == 100 - len(dropped) - len(failed) - 2
    assert result.unfinished == 0
    outcome = line.stages[1].ledger.read(7)
    assert outcome == Failed(7, "b", "timeout", "no answer", "e", 4, "item 7", id="q7")
    assert line.stages[1].ledger.read(5) == Dropped(5, "too_easy")
    assert sorted(line.finished) == [r for r in range(1, 101) if r not in {3, 4}]


async def test_a_slow_stage_holds_back_the_reading_of_the_input(tmp_path: Path) -> None:
    """Memory is bounded by records in flight, not by the size of the input."""
    may_go = asyncio.Event()

    async def slow(item: Item) -> Item:
        await may_go.wait()
        return item

    line = Line(tmp_path, {"a": through("a"), "slow": slow}, concurrency=3, queue_size=2)
    going = asyncio.create_task(line.go(range(1, 1001)))
    first, second = line.stages
    async with asyncio.timeout(30):  # until both queues are full, and all tasks behind them
        while (first.counts["done"], first.inbox.qsize(), second.busy) != (3 + 2 + 3, 2, 3):
            await asyncio.sleep(0.001)
    await turns()
    assert line.read == 3 + 2 + 3 + 2 + 1, "the feeder holds one more"
    may_go.set()
    await going
    assert line.read == 1000


async def test_all_stages_run_at_once(tmp_path: Path) -> None:
    """The second stage works on row 1 while the first one works on later rows."""
    later_started = asyncio.Event()

    async def first(item: Item) -> Item:
        if item.row > 1:
            later_started.set()
        return item

    async def second(item: Item) -> Item:
        await later_started.wait()  # would never end if stages ran one after the other
        return item

    line = Line(tmp_path, {"a": first, "b": second}, concurrency=1)
    async with asyncio.timeout(5):
        await line.go(range(1, 4))
    assert line.finished == [1, 2, 3]


async def test_a_stopped_run_goes_on_where_each_row_stood(tmp_path: Path) -> None:
    worked: list[tuple[str, int]] = []

    def counting(name: str, stop_at: int | None = None) -> Step:
        async def step(item: Item) -> Item:
            if item.row == stop_at:
                raise RunStopped("no credit", hint="pay")
            worked.append((name, item.row))
            return Item(item.row, (*item.trail, name))

        return step

    line = Line(tmp_path, {"a": counting("a"), "b": counting("b", stop_at=20)})
    with pytest.raises(ExceptionGroup) as stopped:
        await line.go(range(1, 51))
    assert stopped.group_contains(RunStopped, match="no credit", depth=2)
    again = Line(tmp_path, {"a": counting("a"), "b": counting("b")})
    await again.go(range(1, 51))
    assert sorted(worked) == sorted([("a", r) for r in range(1, 51)] + [("b", r) for r in range(1, 51)])
    done = again.stages[1].ledger
    assert all(done.status(row) is RowStatus.DONE for row in range(1, 51))


async def test_a_full_disk_does_not_wait_for_answers_that_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call is under way, and would be waited for if the run stopped for another reason."""

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    line = Line(tmp_path, {"a": through("a")})
    await line.drain.enter()
    monkeypatch.setattr(os, "write", full)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DiskError, match="No space left"):
        async with asyncio.timeout(5):
            await line.go(range(1, 6))
    assert asyncio.get_running_loop().time() - began < 4


async def test_failed_rows_are_tried_again_and_only_from_where_they_failed(tmp_path: Path) -> None:
    tried: list[str] = []

    def failing(times: int) -> Step:
        async def step(item: Item) -> Item:
            tried.append("b")
            if len([t for t in tried if t == "b"]) <= times:
                raise RecordError("timeout", "no answer")
            return item

        return step

    async def first(item: Item) -> Item:
        tried.append("a")
        return item

    await Line(tmp_path, {"a": first, "b": failing(1)}).go(range(1, 2))
    again = Line(tmp_path, {"a": first, "b": failing(1)})
    assert again.status("b", 1) is RowStatus.FAILED
    await again.go(range(1, 2))
    assert tried == ["a", "b", "b"]
    assert again.status("b", 1) is RowStatus.DONE
    assert again.account.totals(1).failed == {}


async def test_a_run_up_to_a_step_is_continued_by_a_longer_one(tmp_path: Path) -> None:
    await Line(tmp_path, {"a": through("a")}).go(range(1, 6))
    whole = Line(tmp_path, {"a": through("again"), "b": through("b")})
    await whole.go(range(1, 6))
    assert whole.stages[1].ledger.read(5).record.trail == ("a", "b")  # type: ignore[union-attr]


async def test_a_bug_in_a_worker_stops_the_run(tmp_path: Path) -> None:
    async def broken(item: Item) -> Item:
        raise ZeroDivisionError(item.row)

    with pytest.raises(ExceptionGroup) as stopped:
        await Line(tmp_path, {"a": broken}).go(range(1, 6))
    assert stopped.group_contains(ZeroDivisionError, depth=2)


async def test_an_outcome_missing_before_a_later_one_is_made_again(tmp_path: Path) -> None:
    """A power cut takes the end of each ledger by itself: the later stages' outcomes alone would leave a hole."""
    steps = {"a": through("a"), "b": through("b")}
    await Line(tmp_path, steps).go(range(1, 4))
    for path in (tmp_path / "a").iterdir():
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    again = Line(tmp_path, steps)
    await again.go(range(1, 4))
    assert all(again.status(stage, row) is RowStatus.DONE for stage in "ab" for row in range(1, 4))


async def test_what_may_pass_is_tried_again_after_all_the_others_and_fails_only_in_the_last_round(
    tmp_path: Path,
) -> None:
    tried: list[int] = []

    async def flaky(item: Item) -> Item:
        tried.append(item.row)
        if item.row in {2, 3} and (item.row == 3 or tried.count(2) == 1):
            raise Transient("timeout", "no answer", endpoint="e")
        if item.row == 4:
            raise RecordError("context_overflow", "too long")
        return item

    line = Line(tmp_path, {"a": through("a"), "b": flaky}, salvage_rounds=2)
    await line.go(range(1, 7))
    assert sorted(tried[:6]) == [1, 2, 3, 4, 5, 6]
    assert sorted(tried[6:8]) == [2, 3]
    assert tried[8:] == [3]
    statuses = {row: line.status("b", row) for row in range(1, 7)}
    assert [row for row in statuses if statuses[row] is RowStatus.FAILED] == [3, 4]
    assert sorted(line.finished) == [1, 2, 3, 4, 5, 6]
    assert line.stages[0].counts["done"] == 6, "a step that is done is not done again"


async def test_an_unreadable_row_is_written_down_once_however_often_the_input_is_read(tmp_path: Path) -> None:
    """In every salvage round, and at each later start."""

    async def down(_item: Item) -> Item:
        raise Transient("timeout", "no answer", endpoint="e")

    for _ in range(2):
        line = Line(tmp_path, {"a": down}, salvage_rounds=2)
        await line.go(range(1, 5), bad=frozenset({2, 3}))
        assert line.read == 3 * 4, "the input was read in each round"
    written = b"".join(path.read_bytes() for path in (tmp_path / "input").iterdir())
    assert written.count(b"not_json") == written.count(b"\n") == 2


async def test_an_incomplete_record_is_used_only_where_trying_again_would_not_help(tmp_path: Path) -> None:
    tried: list[int] = []
    faults = {1: Transient("timeout", "no answer", endpoint="e"), 2: RecordError("context_overflow", "too long")}

    async def incomplete(item: Item) -> Item | Partial[Item]:
        tried.append(item.row)
        return Partial(Item(item.row, (f"try {tried.count(item.row)}",)), faults[item.row])

    line = Line(tmp_path, {"a": incomplete}, salvage_rounds=2)
    await line.go(range(1, 3))
    assert tried == [1, 2, 1, 1], "what may pass is tried to the last round"
    line = Line(tmp_path, {"a": incomplete})
    kept = [await line.stages[0].ledger.fetch(row) for row in (1, 2)]
    assert [outcome.record.trail for outcome in kept if isinstance(outcome, Done)] == [("try 3",), ("try 1",)]
    await line.go(range(0))
