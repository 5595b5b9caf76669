"""Batches of which an earlier start had fetched a part, and files that the provider needs some time to read."""

import asyncio
from pathlib import Path

import pytest

from tests.llm.batch.runs import QUESTIONS, ordinary, paid_once, quick, run, served, until, write
from tests.loopback.batch_faults import Rule

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


async def test_answers_that_arrived_before_a_stop_are_counted_once(tmp_path: Path) -> None:
    """Their rows are through before the rest of the batch is fetched, and the journal's index has forgotten them."""
    rules = (
        Rule(at="content", fault="cut"),
        Rule(at="content", fault="hang", nth=2, seconds=60.0),
        Rule(at="retrieve", fault="hang", nth=2, seconds=1.5),
    )
    async with served(*rules, seconds=0.0) as server:
        config = write(tmp_path / "run", server.base_url, {}, batched=("strong-a",), models={"mstrong": ["strong-a"]})
        first = asyncio.create_task(run(config))
        await until(lambda: "content:hang" in server.batches.faults)
        first.cancel()
        await asyncio.wait([first])
        summary = await run(config)
        assert paid_once(server.batches)
        assert server.batches.charged == QUESTIONS
    assert [role.calls for role in summary.roles if role.endpoint == "strong-a"] == [QUESTIONS]


async def test_a_batch_is_made_when_the_provider_has_read_the_file(tmp_path: Path) -> None:
    calm = await ordinary(tmp_path / "calm")
    async with served(processing=0.3) as server:
        await run(write(tmp_path / "run", server.base_url, {}))
        assert paid_once(server.batches)
        assert server.batches.requests["create"] == len(server.batches.batches)
    assert (tmp_path / "run" / "out.jsonl").read_bytes() == calm


async def test_a_batch_that_was_made_just_before_a_stop_is_waited_for_in_the_listing(tmp_path: Path) -> None:
    """Its file was uploaded long before, as a first try to make it had failed."""
    rules = (
        Rule(at="create", fault="500"),
        Rule(at="create", fault="hang_after", nth=2, seconds=60.0),
        Rule(at="batch", fault="listed_late", seconds=0.8),
    )
    async with served(*rules) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",), models={"mstrong": ["strong-a"]})
        first = asyncio.create_task(run(config))
        await until(lambda: "create:hang_after" in server.batches.faults)
        first.cancel()
        await asyncio.wait([first])
        await run(config)
        assert len(server.batches.batches) == 1
        assert paid_once(server.batches)
