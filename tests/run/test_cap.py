"""``engine.max_cost_usd`` as a user meets it: a cap for all runs of a work_dir, previews and checks included."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import weak2wise
from tests.api.runs import config_at, questions
from tests.engine_runs import config_for, finish, lines, save, write_run
from tests.loopback import LoopbackProcess, serve
from weak2wise.ledger.files import locked

pytestmark = pytest.mark.slow

DEAR = weak2wise.Prices(input=10.0, output=250.0)


def dear(base_url: str, cap: float) -> weak2wise.Config:
    """A hundred calls in flight, each of about 0.1 US dollars, at most 0.3."""
    shared: dict[str, Any] = {"prices": DEAR, "max_concurrent_requests": 100, "max_tokens": 1000}
    return config_at(
        base_url,
        shared=shared,
        engine=weak2wise.EngineOptions(max_cost_usd=cap),
        params=weak2wise.Params(samples_per_model=1, n_mask=2, judge_mode="rule", skip_filter=True),
    )


def spent_in(work_dir: Path) -> float:
    return sum(use.cost_usd for use in weak2wise.open_run(work_dir).summary.roles)


async def test_a_run_with_a_hundred_calls_in_flight_stays_under_a_dollar_and_uses_most_of_it(tmp_path: Path) -> None:
    async with serve(latency=0.2) as server:
        with pytest.raises(weak2wise.RunStopped, match=r"engine\.max_cost_usd"):
            await weak2wise.asynthesize(questions(100), dear(server.base_url, 1.0), work_dir=tmp_path)
        first = spent_in(tmp_path)
        assert 0.6 < first <= 1.0
        with pytest.raises(weak2wise.RunStopped):
            await weak2wise.asynthesize(questions(100), dear(server.base_url, 1.5), work_dir=tmp_path)
    assert first < spent_in(tmp_path) <= 1.5, "a later run counts what was spent before"


async def test_two_runs_of_a_host_stay_under_one_cap_with_nothing_left_reserved(tmp_path: Path) -> None:
    async with serve(latency=0.05) as server:
        config = dear(server.base_url, 2.0)
        async with weak2wise.Host(config) as host:
            runs = (
                weak2wise.asynthesize(questions(50, first), config, work_dir=tmp_path / str(first), host=host)
                for first in (0, 50)
            )
            stops = await asyncio.gather(*runs, return_exceptions=True)
            assert host.budget._reserved == 0
    assert all(isinstance(stop, weak2wise.RunStopped) for stop in stops)
    assert 1.5 < sum(spent_in(tmp_path / str(first)) for first in (0, 50)) <= 2.0


async def test_a_cap_below_one_call_sends_nothing_and_says_what_a_call_may_cost(tmp_path: Path) -> None:
    async with serve() as server:
        with pytest.raises(weak2wise.RunStopped) as stop:
            await weak2wise.asynthesize(questions(3), dear(server.base_url, 0.01), work_dir=tmp_path)
        assert not server.stats.models
    assert "the next call (to strong-a) may cost 0.2" in stop.value.hint


def test_preview_and_check_spend_from_the_cap_of_the_run(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        for endpoint in config["model_endpoints"].values():
            endpoint |= {"prices": {"input": 10.0, "output": 250.0}, "max_tokens": 1000}
        config["engine"] = {"max_cost_usd": 3.0}
        write_run(tmp_path, config, 12)
        side_costs = tmp_path / "work" / "side_costs.jsonl"
        finish(tmp_path, command="check")
        finish(tmp_path, "-n", "1", command="preview")
        before = lines(side_costs)
        assert [line["command"] for line in before] == ["check", "preview"]
        assert all(line["cost_usd"] > 0 for line in before)
        used = sum(line["cost_usd"] for line in before)
        save(tmp_path, config | {"engine": {"max_cost_usd": used + 0.6}})
        said = finish(tmp_path, code=3)
        journal = [line for file in (tmp_path / "work" / "ledger" / "journal").iterdir() for line in lines(file)]
        spent = sum(line["cost_usd"] for line in journal)
        assert 0 < spent <= 0.6, "what preview and check spent is spent"
        assert f"{used + spent:.4f} US dollars are spent" in said

        asked = sum(request.asked for request in server.requests().values())
        save(tmp_path, config | {"engine": {"max_cost_usd": used + spent + 0.001}})
        said = finish(tmp_path, "-n", "1", command="preview", code=3)
        assert "raise engine.max_cost_usd" in said
        assert "Try again with" not in said
        assert "engine.max_cost_usd" in finish(tmp_path, command="check", code=1)
        assert sum(request.asked for request in server.requests().values()) == asked
        save(tmp_path, config)
        finish(tmp_path, "--resume", "never")
        assert not side_costs.exists(), "a run that starts over has a cap of its own"


def test_a_preview_beside_a_run_with_a_cap_is_refused(tmp_path: Path) -> None:
    """Two processes cannot keep one cap."""
    with LoopbackProcess() as server, locked(tmp_path / "work"):
        config = config_for(tmp_path, server.base_url, n_mask=2)
        for endpoint in config["model_endpoints"].values():
            endpoint["prices"] = {"output": 1.0}
        write_run(tmp_path, config | {"engine": {"max_cost_usd": 3.0}}, 1)
        assert "in use by another engine" in finish(tmp_path, command="preview", code=2)
        assert "not asked" in finish(tmp_path, command="check", code=1)
        assert not server.requests()
