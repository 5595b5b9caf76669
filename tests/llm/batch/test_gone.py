"""Batches, or their answers, that the provider does not show any more: nothing charged is paid again without a word."""

import asyncio
from pathlib import Path

import pytest

from tests.finished_run import command
from tests.llm.batch.runs import QUESTIONS, paid_once, quick, run, served, stopped, until, write
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_faults import BatchFaults, Rule

GONE = Rule(at="batch", fault="results_gone", seconds=0.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.mark.slow
async def test_answers_that_were_charged_and_cannot_be_fetched_stop_the_run_at_the_first_batch(tmp_path: Path) -> None:
    async with served(GONE) as server:
        config = write(tmp_path, server.base_url, {})
        said = await stopped(config)
        assert "are not at the provider any more (404)" in said
        assert f"{QUESTIONS} of its requests may have been charged" in said
        assert "--give-up" in said
        assert "may have been charged" in await stopped(config), "another start stops, too, and pays nothing"
        assert {line.charged for line in server.batches.lines.values()} == {1}
    assert "batch.results_gone" in (tmp_path / "work" / "run.log").read_text()


@pytest.mark.slow
def test_once_they_are_given_up_they_are_asked_again(tmp_path: Path) -> None:
    settings = BatchSettings(seconds=0.1, faults=BatchFaults(rules=(GONE,)))
    with LoopbackProcess(batches=settings) as server:
        config = write(tmp_path, server.base_url, {})
        asyncio.run(stopped(config))
        assert command("batch", "cancel", tmp_path / "work", "--give-up", "--config", config) == 0
        summary = asyncio.run(run(config))
        lines = server.batches().lines.values()
        assert all(line.charged == 1 + line.gone for line in lines)
        assert any(line.gone for line in lines)
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
async def test_answers_that_come_back_are_fetched_by_the_next_start(tmp_path: Path) -> None:
    async with served(Rule(at="content", fault="404", times=6)) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",))
        await stopped(config)
        summary = await run(config)
        assert paid_once(server.batches)
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
async def test_a_file_of_errors_alone_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    """Errors are charged by nobody."""
    async with served(GONE, Rule(at="line", fault="500", times=None)) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",), engine={"max_error_rate": 1})
        running = asyncio.create_task(run(config))
        await until(lambda: len(server.batches.batches) >= 2)
        running.cancel()
        await asyncio.wait([running])
        assert server.batches.charged == 0


async def test_a_batch_that_vanishes_after_some_of_it_was_done_stops_the_run(tmp_path: Path) -> None:
    async with served(Rule(at="batch", fault="stuck", share=0.5), seconds=0.3) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",))
        running = asyncio.create_task(stopped(config))
        log = tmp_path / "work" / "run.log"
        record = tmp_path / "work" / "ledger" / "batches" / "00000.jsonl"
        await until(lambda: record.exists() and '"done":' in record.read_text())
        server._batches.batches.batches.clear()
        said = await running
        assert "may have been charged" in said
        assert '"batch.gone"' in log.read_text()
        assert len(server.batches.lines) == QUESTIONS
        assert {line.asked for line in server.batches.lines.values()} == {1}


@pytest.mark.slow
async def test_a_batch_that_only_the_listing_shows_is_followed_there(tmp_path: Path) -> None:
    async with served(Rule(at="retrieve", fault="404", times=None), seconds=0.3) as server:
        async with asyncio.timeout(15):
            summary = await run(write(tmp_path, server.base_url, {}))
        assert paid_once(server.batches)
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
@pytest.mark.parametrize("retrieved", [True, False])
async def test_a_batch_that_comes_to_no_end_stops_the_run(tmp_path: Path, retrieved: bool) -> None:
    hidden = () if retrieved else (Rule(at="retrieve", fault="404", times=None),)
    async with served(Rule(at="batch", fault="stuck"), *hidden, cancelling=3600.0) as server:
        config = write(tmp_path, server.base_url, {"window": "1s"}, batched=("strong-a",))
        running = asyncio.create_task(stopped(config))
        await until(lambda: server.batches.batches)
        for batch in server._batches.batches.batches.values():
            batch.expires += 3600
        async with asyncio.timeout(15):
            said = await running
        assert "comes to no end; the provider says that it is cancelling" in said
        assert {line.asked for line in server.batches.lines.values()} == {1}


@pytest.mark.slow
async def test_a_batch_that_no_run_looked_at_for_long_has_time_to_be_cancelled(tmp_path: Path) -> None:
    """Its first look finds it twice as old as it should be, and cancels it: that takes a while."""
    async with served(Rule(at="batch", fault="stuck"), cancelling=0.1) as server:
        config = write(tmp_path, server.base_url, {"window": "1s"}, batched=("strong-a",))
        running = asyncio.create_task(run(config))
        await until(lambda: server.batches.batches)
        running.cancel()
        await asyncio.wait([running])
        (batch,) = server._batches.batches.batches.values()
        batch.expires += 3600
        await asyncio.sleep(3.5)
        summary = await run(config)
        assert paid_once(server.batches)
    assert summary.totals.emitted == QUESTIONS
