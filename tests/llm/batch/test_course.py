"""What a run does with batches when nothing goes wrong."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from tests.engine_runs import lines
from tests.llm.batch.runs import (
    BATCH,
    QUESTIONS,
    change,
    ordinary,
    paid_once,
    quick,
    run,
    served,
    stopped,
    until,
    write,
)
from tests.loopback.batch_faults import Rule
from weak2wise.config import load_config
from weak2wise.presets import BatchApi, presets
from weak2wise.run.engine import Engine
from weak2wise.run.host import Host

PRICES = {"input": 1.0, "output": 10.0}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.mark.slow
async def test_a_batch_is_sent_when_it_is_full_and_the_rest_when_nothing_else_can_go_on(tmp_path: Path) -> None:
    async with served() as server:
        await run(write(tmp_path, server.base_url, {"max_requests": 3, "max_wait": "1h"}, batched=("strong-a",)))
        sizes = sorted(batch.lines for batch in server.batches.batches)
    assert sizes == [2, 3, 3]


@pytest.mark.slow
async def test_a_batch_waits_no_longer_than_max_wait(tmp_path: Path) -> None:
    """The other strong model takes its time, so that the run could go on."""
    async with served(seconds=0.05) as server:
        server._settings = type(server._settings)(latency=60.0, batches=server._settings.batches)
        config = write(tmp_path, server.base_url, {"max_wait": "100ms"}, batched=("strong-a",))
        task = asyncio.create_task(run(config, up_to_step=2))
        await until(lambda: server.batches.batches, 30)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.slow
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


@pytest.mark.slow
async def test_the_first_rows_are_asked_by_ordinary_calls_if_that_is_wanted(tmp_path: Path) -> None:
    async with served() as server:
        await run(write(tmp_path, server.base_url, {"after": 3}))
        assert len(server.batches.lines) == 2 * (QUESTIONS - 3)
        assert sum(server.stats.models[name].answered for name in ("strong-a", "strong-a-two")) == 2 * 3
        assert paid_once(server.batches)


@pytest.mark.slow
async def test_stragglers_are_asked_by_ordinary_calls_if_that_is_wanted(tmp_path: Path) -> None:
    async with served(Rule(at="batch", fault="stuck", times=2, share=0.5)) as server:
        summary = await run(write(tmp_path, server.base_url, {"finish_by": "500ms"}))
        ordinary_calls = sum(server.stats.models[name].answered for name in ("strong-a", "strong-a-two"))
        assert server.batches.charged + ordinary_calls == 2 * QUESTIONS
        assert ordinary_calls == QUESTIONS
        assert {batch.status for batch in server.batches.batches} == {"cancelled"}
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
async def test_an_answer_costs_what_the_batch_api_charges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.slow
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


@pytest.mark.slow
async def test_a_call_that_may_cost_more_than_is_left_stops_the_run(tmp_path: Path) -> None:
    async with served() as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",), engine={"max_cost_usd": 0.05})
        said = await stopped(change(config, "strong-a", prices=PRICES, max_tokens=9000))
        assert server.batches.charged == 0
    assert "engine.max_cost_usd" in said


@pytest.mark.slow
async def test_exhaustive_scoring_and_truncation_can_be_batched_too(tmp_path: Path) -> None:
    async with served() as calm_server:
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


@pytest.mark.slow
async def test_two_runs_on_one_host_do_not_mix_their_batches(tmp_path: Path) -> None:
    async with served(seconds=0.3) as server:
        configs = [load_config(write(tmp_path / name, server.base_url, {})) for name in ("one", "two")]
        async with Host(configs[0]) as host:
            await asyncio.gather(*(Engine(config, host=host).run() for config in configs))
        assert len(server.batches.batches) == 4
        assert {line.asked for line in server.batches.lines.values()} == {2}  # each run asks the same, for itself
    outputs = {(tmp_path / name / "out.jsonl").read_bytes() for name in ("one", "two")}
    assert len(outputs) == 1


@pytest.mark.slow
async def test_the_rows_that_need_no_batch_go_all_the_way_while_the_others_wait(tmp_path: Path) -> None:
    async with served(seconds=3.0) as server:
        running = asyncio.create_task(run(write(tmp_path, server.base_url, {"after": 3})))
        await until(lambda: any((tmp_path / "work" / "ledger" / "sft").glob("*.jsonl")))
        emitted = tmp_path / "work" / "ledger" / "sft" / "00000.jsonl"
        await until(lambda: len(lines(emitted)) == 3)
        assert {batch.status for batch in server.batches.batches} <= {"validating", "in_progress"}
        summary = await running
    assert summary.totals.emitted == QUESTIONS
