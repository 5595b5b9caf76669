"""One step alone: what it logs of its records, and when too many of them fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.logs import captured_logs
from tests.pipeline.test_pipeline import Item
from weak2wise.errors import RecordError, RunStopped
from weak2wise.ledger.outcomes import Ledger
from weak2wise.llm.error_rate import WINDOW
from weak2wise.llm.errors import Transient
from weak2wise.pipeline import Stage
from weak2wise.worker import Drop, Partial

Result = Item | Drop | Partial[Item]


def stage(folder: Path, result: Callable[[Item], Result], **options: Any) -> Stage[Item]:
    async def worker(item: Item) -> Result:
        return result(item)

    ledger = Ledger("only", folder, Item, max_bytes=1 << 20, fsync_seconds=0.01)
    ledger.open()
    return Stage("only", worker, ledger, concurrency=1, queue_size=1, **{"max_error_rate": 1.0} | options)


def odd_rows_only(item: Item) -> Item | Drop:
    return item if item.row % 2 else Drop("even")


@pytest.mark.parametrize("emits", [False, True])
async def test_the_last_step_alone_says_that_a_record_is_emitted_and_each_what_it_drops(
    tmp_path: Path, emits: bool
) -> None:
    step = stage(tmp_path, odd_rows_only, emits=emits)
    with captured_logs() as events:
        for row in (1, 2, 3):
            await step.process(Item(row), final=True)
    emitted = [("record.emitted", 1), ("record.emitted", 3)] if emits else []
    assert sorted((event["event"], event["row"]) for event in events) == [("record.dropped", 2), *emitted]
    await step.ledger.close()


async def test_too_many_permanent_failures_at_one_step_stop_the_run(tmp_path: Path) -> None:
    def failing(item: Item) -> Item:
        if item.row > WINDOW // 2:
            raise RecordError("context_overflow", f"row {item.row} is too long")
        return item

    step = stage(tmp_path, failing, max_error_rate=0.5)
    for row in range(1, WINDOW + 1):
        await step.process(Item(row), final=True)
    assert list(step.shortfalls()) == [], "half of them is as many as may fail"
    with pytest.raises(RunStopped, match=f"51 of the last {WINDOW} questions at the step 'only'.*row {WINDOW + 1} is"):
        await step.process(Item(WINDOW + 1), final=True)
    assert len(list(step.shortfalls())) == 1
    await step.ledger.close()


async def test_failures_that_may_pass_are_not_the_step_s(tmp_path: Path) -> None:
    """They are counted where the call is made."""

    def failing(_: Item) -> Item:
        raise Transient("timeout", "too late", endpoint="e")

    step = stage(tmp_path, failing, max_error_rate=0.0)
    for row in range(WINDOW + 1):
        await step.process(Item(row), final=bool(row % 2))
    assert list(step.shortfalls()) == []
    assert step.counts == {"aside": WINDOW // 2 + 1, "failed": WINDOW // 2}
    await step.ledger.close()
