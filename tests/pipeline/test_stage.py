"""One stage: what it stores of a provider's words, and how many failures it takes."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.test_pipeline import Item
from weak2wise.errors import RecordError, RunStopped
from weak2wise.ledger.outcomes import Failed, Ledger
from weak2wise.llm.error_rate import WINDOW
from weak2wise.llm.errors import Transient
from weak2wise.pipeline import Stage
from weak2wise.telemetry.redaction import message_redactor

KEY = "sk-A1b2C3d4E5f6G7h8I9j0"


def stage(
    folder: Path, worker: Callable[[Item], Coroutine[Any, Any, Item]], *, max_error_rate: float = 1.0, secret: str = KEY
) -> Stage[Item]:
    ledger = Ledger("a", folder, Item, max_bytes=1 << 20, fsync_seconds=0.01)
    ledger.open()
    redact = message_redactor([secret])
    return Stage("a", worker, ledger, concurrency=1, queue_size=1, redact=redact, max_error_rate=max_error_rate)


@pytest.mark.parametrize("before", [0, 470, 485, 498, 600])
async def test_no_part_of_a_secret_in_a_failure_is_stored_wherever_its_message_is_cut_off(
    tmp_path: Path, before: int
) -> None:
    """Endpoints cut secrets out of their own messages; a worker of a user's own may say one all the same."""

    async def leaky(_item: Item) -> Item:
        raise RecordError("bad_request", "." * before + KEY + " was refused", endpoint="e")

    failing = stage(tmp_path, leaky)
    outcome = await failing.process(Item(1), final=True)
    await failing.ledger.close()
    assert isinstance(outcome, Failed)
    assert outcome.message == ("." * before + "[redacted] was refused")[:500]
    assert KEY[:4].encode() not in (tmp_path / "a" / "00000.jsonl").read_bytes()


async def failures_until_it_stops(folder: Path, allowed: float, kind: type[RecordError]) -> int | None:
    """How many of a hundred records failed when the stage stopped the run; ``None`` if it never did."""
    failures = 0

    async def failing(item: Item) -> Item:
        nonlocal failures
        if item.row <= WINDOW - 30:
            return item
        failures += 1
        raise kind("timeout", "no answer", endpoint="e")

    one = stage(folder, failing, max_error_rate=allowed)
    try:
        for row in range(1, WINDOW + 1):
            await one.process(Item(row), final=True)
    except RunStopped:
        return failures
    finally:
        await one.ledger.close()
    return None


async def test_as_many_failures_as_are_allowed_are_no_reason_to_stop_and_one_more_is(tmp_path: Path) -> None:
    assert await failures_until_it_stops(tmp_path / "allowed", 0.30, RecordError) is None
    assert await failures_until_it_stops(tmp_path / "more", 0.29, RecordError) == 30


async def test_what_may_pass_does_not_count_as_lost(tmp_path: Path) -> None:
    assert await failures_until_it_stops(tmp_path, 0.0, Transient) is None
