"""One step alone: what is kept of a record that failed, and what is counted of each."""

import asyncio
from pathlib import Path

import pytest

from tests.logs import captured_logs
from tests.pipeline.test_pipeline import Item
from tests.pipeline.test_stage_events import stage
from weak2wise.errors import RecordError, RunStopped
from weak2wise.ledger.outcomes import Done, Failed, Ledger, RowStatus
from weak2wise.llm.errors import Transient
from weak2wise.pipeline import Stage
from weak2wise.worker import Partial


class Titled(Item, frozen=True):
    """A record with a question as long as people ask them."""

    @property
    def title(self) -> str:
        return "".join(f"{number}," for number in range(1000))


LONG = "".join(f"{number};" for number in range(1000))


async def test_of_a_long_question_and_a_long_message_the_beginning_is_kept(tmp_path: Path) -> None:
    def failing(_: Item) -> Item:
        raise RecordError("bad_request", LONG, endpoint="e", attempts=3)

    step = stage(tmp_path, failing)
    with captured_logs() as events:
        outcome = await step.process(Titled(7), final=False)
    assert outcome == Failed(
        row=7,
        stage="only",
        kind="bad_request",
        message=LONG[:500],
        endpoint="e",
        attempts=3,
        title=Titled(7).title[:500],
        trials=1,
        id="q7",
    )
    assert [(event["event"], event["kind"], event["message"]) for event in events] == [
        ("record.failed", "bad_request", LONG[:200])
    ]
    await step.ledger.close()


async def test_a_row_s_failures_are_counted_over_its_trials(tmp_path: Path) -> None:
    def failing(_: Item) -> Item:
        raise RecordError("bad_request", "no")

    for number in range(1, 4):
        step = stage(tmp_path, failing)
        outcome = await step.process(Item(1), final=True)
        assert isinstance(outcome, Failed)
        assert outcome.trials == number
        await step.ledger.close()


async def test_only_what_may_pass_is_put_aside_and_only_before_the_last_round(tmp_path: Path) -> None:
    def failing(item: Item) -> Item:
        kind = Transient if item.row % 2 else RecordError
        raise kind("timeout", "no answer")

    step = stage(tmp_path, failing)
    outcomes = [await step.process(Item(row), final=row > 2) for row in (1, 2, 3, 4)]
    assert [outcome and outcome.row for outcome in outcomes] == [None, 2, 3, 4]
    assert [step.ledger.status(row) for row in (1, 2, 3, 4)] == [RowStatus.NONE, *[RowStatus.FAILED] * 3]
    await step.ledger.close()


async def test_an_incomplete_record_says_why_and_one_that_is_worthless_counts_as_failed(tmp_path: Path) -> None:
    def incomplete(item: Item) -> Partial[Item]:
        return Partial(item, RecordError("context_overflow", LONG), worthless=item.row > 1)

    step = stage(tmp_path, incomplete, max_error_rate=0.5)
    with captured_logs() as events:
        for row in (1, 2):
            assert isinstance(await step.process(Item(row), final=False), Done)
            assert bool(list(step.shortfalls())) is False, "half of them is as many as may fail"
        await step.process(Item(3), final=False)
    assert [(event["event"], event["message"]) for event in events] == [
        ("record.made_do", LONG[:200]),
        ("record.worthless", LONG[:200]),
        ("record.worthless", LONG[:200]),
    ]
    (said,) = step.shortfalls()
    assert said.startswith("2 of the last 3 questions at the step 'only' failed, most of them for context_overflow")
    assert step.counts == {"done": 3}
    await step.ledger.close()


async def test_an_incomplete_record_that_may_still_pass_is_put_aside_and_counts_as_nothing(tmp_path: Path) -> None:
    def incomplete(item: Item) -> Partial[Item]:
        return Partial(item, Transient("timeout", "no answer"), worthless=True)

    step = stage(tmp_path, incomplete, max_error_rate=0.0)
    assert await step.process(Item(1), final=False) is None
    assert step.counts == {"aside": 1}
    assert list(step.shortfalls()) == []
    assert isinstance(await step.process(Item(1), final=True), Done)
    await step.ledger.close()


@pytest.mark.slow
async def test_the_latest_rows_that_were_done_are_at_hand_and_how_long_records_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weak2wise.pipeline.stage.LATEST", 24)

    async def worker(item: Item) -> Item:
        await asyncio.sleep(0.02)
        if item.row % 2:
            raise RecordError("bad_request", "no")
        return item

    ledger = Ledger("only", tmp_path, Item, max_bytes=1 << 20, fsync_seconds=0.01)
    ledger.open()
    step = Stage("only", worker, ledger, concurrency=1, queue_size=1, max_error_rate=1.0)
    began = asyncio.get_running_loop().time()
    for row in range(60):
        await step.process(Item(row), final=True)
    took = asyncio.get_running_loop().time() - began
    assert list(step.latest) == list(range(12, 60, 2))
    assert 60 * 0.02 <= step.took.total <= took
    seconds = [outcome.seconds for row in range(0, 60, 2) if isinstance(outcome := ledger.read(row), Done)]
    assert len(seconds) == 30
    assert all(0.02 <= one == round(one, 3) < took for one in seconds)
    assert any(one != round(one, 2) for one in seconds)
    await ledger.close()


async def test_a_stop_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    def stopping(_: Item) -> Item:
        raise RunStopped("no credit", hint="pay")

    step = stage(tmp_path, stopping)
    with pytest.raises(RunStopped):
        await step.process(Item(1), final=True)
    assert (step.busy, step.counts, step.ledger.status(1)) == (0, {}, RowStatus.NONE)
    await step.ledger.close()
