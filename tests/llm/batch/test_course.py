"""What a run does with batches when nothing goes wrong, and when it is stopped or killed."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import ROOT, finish, lines, start
from tests.llm.batch.runs import BATCH, QUESTIONS, Rule, ordinary, paid_once, quick, run, served, until, write
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings
from tests.loopback.batches import BatchStats
from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.batch.requests_file import askers_in, file_of

PRICES = {"input": 1.0, "output": 10.0}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


def change(config: Path, name: str, **keys: Any) -> Path:
    """Set keys of an endpoint."""
    made = yaml.safe_load(config.read_text())
    made["model_endpoints"][name] |= keys
    config.write_text(yaml.safe_dump(made))
    return config


def journal(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's journal."""
    return [line for shard in sorted((folder / "work" / "ledger" / "journal").iterdir()) for line in lines(shard)]


async def stopped(config: Path) -> str:
    """Run until it stops; why."""
    with pytest.raises(BaseExceptionGroup) as raised:
        await run(config)
    return "; ".join(f"{error}. {error.hint}" for error in single_errors(raised.value) if isinstance(error, RunStopped))


async def test_a_batch_is_sent_when_it_is_full_and_the_rest_when_nothing_else_can_go_on(tmp_path: Path) -> None:
    async with served() as server:
        await run(write(tmp_path, server.base_url, {"max_requests": 3, "max_wait": "1h"}, batched=("strong-a",)))
        sizes = sorted(batch.lines for batch in server.batches.batches)
    assert sizes == [2, 3, 3]


async def test_a_batch_waits_no_longer_than_max_wait(tmp_path: Path) -> None:
    """The other strong model takes its time, so that the run could go on."""
    async with served(seconds=0.05) as server:
        server._settings = type(server._settings)(latency=2.0, batches=server._settings.batches)
        config = write(tmp_path, server.base_url, {"max_wait": "100ms"}, batched=("strong-a",))
        task = asyncio.create_task(run(config, up_to_step=2))
        await until(lambda: server.batches.batches, 1.5)
        assert not task.done()
        await task


async def test_another_batch_setting_keeps_the_work_dir_and_its_answers(tmp_path: Path) -> None:
    calm = await ordinary(tmp_path / "calm")
    async with served() as server:
        config = write(tmp_path / "run", server.base_url, {})
        await run(config, up_to_step=2)
        asked = server.batches.charged
        for settings in ({"max_requests": 7} | BATCH, None):
            for name in ("strong-a", "strong-b"):
                change(config, name, batch=settings)
            await run(config)
        assert server.batches.charged == asked
        assert not any(model.startswith("strong") for model in server.stats.models)
    assert (tmp_path / "run" / "out.jsonl").read_bytes() == calm


async def test_the_first_rows_are_asked_by_ordinary_calls_if_that_is_wanted(tmp_path: Path) -> None:
    async with served() as server:
        await run(write(tmp_path, server.base_url, {"after": 3}))
        assert len(server.batches.lines) == 2 * (QUESTIONS - 3)
        assert sum(server.stats.models[name].answered for name in ("strong-a", "strong-a-two")) == 2 * 3
        assert paid_once(server.batches)


async def test_stragglers_are_asked_by_ordinary_calls_if_that_is_wanted(tmp_path: Path) -> None:
    async with served(Rule(at="batch", fault="stuck", times=2, share=0.5)) as server:
        summary = await run(write(tmp_path, server.base_url, {"finish_by": "500ms"}))
        ordinary_calls = sum(server.stats.models[name].answered for name in ("strong-a", "strong-a-two"))
        assert server.batches.charged + ordinary_calls == 2 * QUESTIONS
        assert ordinary_calls == QUESTIONS
        assert {batch.status for batch in server.batches.batches} == {"cancelled"}
    assert summary.totals.emitted == QUESTIONS


async def test_an_answer_costs_what_the_batch_api_charges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from msgspec import structs

    from weak2wise.presets import BatchApi, presets

    async with served() as server:
        known = structs.replace(presets()["openai"], base_url=server.base_url, batch=BatchApi(factor=0.5))
        monkeypatch.setitem(presets(), "openai", known)
        config = change(write(tmp_path, server.base_url, {}, batched=("strong-a",)), "strong-a", prices=PRICES)
        summary = await run(change(config, "strong-b", prices=PRICES))
    costs = {role.role: role for role in summary.roles}
    for role, factor in (("strong/strong-a", 0.5), ("strong/strong-b", 1.0)):
        used = costs[role]
        full = (used.prompt_tokens * 1.0 + used.completion_tokens * 10.0) / 1e6
        assert used.cost_usd == pytest.approx(factor * full)


async def test_the_cap_holds_for_what_a_whole_batch_may_cost(tmp_path: Path) -> None:
    """A call may cost 0.09 dollars, so two of them fit at once, and the third not even alone."""
    async with served() as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",), engine={"max_cost_usd": 0.2})
        config = change(config, "strong-a", prices=PRICES, max_tokens=9000)
        summary = await run(config)
        assert max(batch.lines for batch in server.batches.batches) == 2
        assert paid_once(server.batches)
    assert summary.totals.emitted == QUESTIONS
    assert sum(role.cost_usd for role in summary.roles) < 0.2


async def test_a_call_that_may_cost_more_than_is_left_stops_the_run(tmp_path: Path) -> None:
    async with served() as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",), engine={"max_cost_usd": 0.05})
        said = await stopped(change(config, "strong-a", prices=PRICES, max_tokens=9000))
        assert server.batches.charged == 0
    assert "engine.max_cost_usd" in said


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


async def test_exhaustive_scoring_and_truncation_can_be_batched_too(tmp_path: Path) -> None:
    async with serve_calm() as calm_server:
        config = write(tmp_path / "calm", calm_server.base_url, params={"scoring": "exhaustive", "skip_filter": False})
        await run(config)
    async with served(seconds=0.05) as server:
        config = write(
            tmp_path / "run",
            server.base_url,
            {},
            batched=("weak", "trunc", "strong-a"),
            params={"scoring": "exhaustive", "skip_filter": False},
        )
        await run(config)
        assert paid_once(server.batches)
        assert set(server.stats.models) == {"strong-a-two"}
    assert (tmp_path / "run" / "out.jsonl").read_bytes() == (tmp_path / "calm" / "out.jsonl").read_bytes()


def serve_calm() -> Any:
    return served()


async def test_two_runs_on_one_host_do_not_mix_their_batches(tmp_path: Path) -> None:
    from weak2wise.config import load_config
    from weak2wise.run.engine import Engine
    from weak2wise.run.host import Host

    async with served(seconds=0.3) as server:
        configs = [load_config(write(tmp_path / name, server.base_url, {})) for name in ("one", "two")]
        async with Host(configs[0]) as host:
            await asyncio.gather(*(Engine(config, host=host).run() for config in configs))
        assert len(server.batches.batches) == 4
        assert {line.asked for line in server.batches.lines.values()} == {2}  # each run asks the same, for itself
    outputs = {(tmp_path / name / "out.jsonl").read_bytes() for name in ("one", "two")}
    assert len(outputs) == 1


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


def test_the_requests_file_says_what_each_request_is_for(tmp_path: Path) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=60.0)) as server:
        write(tmp_path, server.base_url, {}, batched=("strong-a",))
        with start(tmp_path) as process:
            wait_for_batches(server, 1)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    (state,) = BatchRecord.seen(tmp_path / "work").states()
    askers = [*askers_in(file_of(tmp_path / "work", state.key))]
    assert sorted(asker.row for asker in askers) == list(range(1, QUESTIONS + 1))
    assert {asker.kind for asker in askers} == {"s"}
    assert "batches=1" in said, "the stop says what is left running"


def wait_for_batches(server: LoopbackProcess, count: int) -> BatchStats:
    """Wait until so many batches have been made."""
    deadline = time.monotonic() + 60
    while len((stats := server.batches()).batches) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    return stats


def command(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run another command."""
    full = ["python", "-m", "weak2wise", *map(str, words)]
    import sys

    full[0] = sys.executable
    return subprocess.run(full, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_batches_are_shown_and_cancelled_and_the_next_start_fetches_what_they_had_answered(tmp_path: Path) -> None:
    stuck = Rule(at="batch", fault="stuck", times=2, share=0.5)
    from tests.loopback.batch_faults import BatchFaults

    with LoopbackProcess(batches=BatchSettings(seconds=0.2, faults=BatchFaults(rules=(stuck,)))) as server:
        config = write(tmp_path, server.base_url, {})
        with start(tmp_path) as process:
            wait_for_batches(server, 2)
            assert command("batch", "cancel", "--config", config).returncode == 2, "the run goes on"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        shown = command("batch", "list", tmp_path / "work")
        assert shown.returncode == 0, shown.stderr
        assert f"{QUESTIONS // 2} of {QUESTIONS}" in shown.stdout
        status = json.loads(command("status", tmp_path / "work", "--json").stdout)
        assert [batch["requests"] for batch in status["batches"]] == [QUESTIONS, QUESTIONS]
        cancelled = command("batch", "cancel", "--config", config)
        assert cancelled.returncode == 0, cancelled.stderr
        assert cancelled.stderr.count("is being cancelled") == 2
        finish(tmp_path)
        stats = server.batches()
    assert sorted({batch.status for batch in stats.batches}) == ["cancelled", "completed"]
    assert paid_once(stats)
    assert command("batch", "list", tmp_path / "work").stderr.endswith("no batch is out.\n")


def test_a_batch_that_is_given_up_is_asked_for_again(tmp_path: Path) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=1.0)) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",))
        with start(tmp_path) as process:
            wait_for_batches(server, 1)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        (state,) = BatchRecord.seen(tmp_path / "work").states()
        file_of(tmp_path / "work", state.key).unlink()
        said = finish(tmp_path, code=2)
        assert "--give-up" in said
        assert command("batch", "cancel", "--give-up", "--config", config).returncode == 0
        finish(tmp_path)
        assert len(server.batches().batches) == 2
