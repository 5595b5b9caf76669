"""Runs that are stopped or killed while batches are out: they stay out, and the next start takes them up."""

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from tests.engine_runs import finish, start
from tests.llm.batch.runs import QUESTIONS, change, ordinary, paid_once, quick, run, served, stopped, until, write
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings
from weak2wise.errors import ConfigError
from weak2wise.llm.batch.record import BatchRecord


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.mark.slow
async def test_batches_that_are_out_stay_out_when_a_run_is_cancelled_and_the_next_one_takes_them_up(
    tmp_path: Path,
) -> None:
    calm = await ordinary(tmp_path / "calm")
    async with served(seconds=1.5) as server:
        config = write(tmp_path / "run", server.base_url, {})
        running = asyncio.create_task(run(config))
        await until(lambda: len(server.batches.batches) == 2)
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
        log = (tmp_path / "run" / "work" / "run.log").read_text()
        left = next(json.loads(line) for line in log.splitlines() if '"batch.left"' in line)
        assert (left["batches"], left["requests"]) == (2, 2 * QUESTIONS)
        await run(config)
        assert paid_once(server.batches)
        assert len(server.batches.batches) == 2
        assert server.batches.files == 0
    assert (tmp_path / "run" / "out.jsonl").read_bytes() == calm
    assert not list((tmp_path / "run" / "work" / "batches").iterdir())


@pytest.mark.slow
async def test_batches_are_taken_up_also_where_the_endpoint_is_batched_no_more(tmp_path: Path) -> None:
    async with served(seconds=1.0) as server:
        config = write(tmp_path, server.base_url, {})
        running = asyncio.create_task(run(config))
        await until(lambda: len(server.batches.batches) == 2)
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
        for name in ("strong-a", "strong-b"):
            change(config, name, batch=None)
        await asyncio.sleep(1.0)  # they are looked at once a minute then
        summary = await run(config)
        assert not any(model.startswith("strong") for model in server.stats.models)
        assert paid_once(server.batches)
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
async def test_a_batch_of_another_account_is_not_taken_for_lost(tmp_path: Path) -> None:
    async with served(seconds=30.0) as first:
        config = write(tmp_path, first.base_url, {})
        running = asyncio.create_task(run(config))
        await until(lambda: len(first.batches.batches) == 2)
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])
    async with served() as second:
        for name in ("strong-a", "strong-b"):
            change(config, name, base_url=second.base_url)
        assert "another key or to another address" in await stopped(config)
        assert second.batches.charged == 0


async def test_starting_over_does_not_forget_batches_that_are_out(tmp_path: Path) -> None:
    async with served(seconds=30.0) as server:
        config = write(tmp_path, server.base_url, {})
        running = asyncio.create_task(run(config))
        await until(lambda: len(BatchRecord.seen(tmp_path / "work").states()) == 2)
        running.cancel()
        await asyncio.wait([running])
        with pytest.raises(ConfigError, match=r"2 batches with 16 requests"):
            await run(config, resume="never")


@pytest.mark.slow
async def test_the_requests_of_a_batch_that_is_out_are_not_asked_again_if_they_are_lost_here(tmp_path: Path) -> None:
    async with served(seconds=30.0) as server:
        config = write(tmp_path, server.base_url, {})
        running = asyncio.create_task(run(config))
        await until(lambda: len(BatchRecord.seen(tmp_path / "work").states()) == 2)
        running.cancel()
        await asyncio.wait([running])
        for path in (tmp_path / "work" / "batches").iterdir():
            path.unlink()
        with pytest.raises(ConfigError, match="restore it"):
            await run(config)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.35, 0.6, 0.75, 0.9, 1.1, 1.4])
def test_a_run_that_is_killed_pays_nothing_twice(tmp_path: Path, moment: float) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=0.6)) as server:
        write(tmp_path, server.base_url, {})
        with start(tmp_path) as process:
            deadline = time.monotonic() + 60
            while not (tmp_path / "work" / "batches").is_dir():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(moment - 0.35)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        finish(tmp_path)
        stats = server.batches()
    assert paid_once(stats)
    assert stats.files == 0
