"""Several runs in one process: each with its own log, status and redaction, all within the limits of their host."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

import weak2wise
from tests.api.runs import asked, config_at, endpoint, events, names, questions
from tests.loopback import LoopbackProcess, serve

PRICES = weak2wise.Prices(input=1000.0, output=1000.0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 20])
async def test_runs_at_once_have_each_a_complete_log_and_status_of_their_own(tmp_path: Path, count: int) -> None:
    """The weak model solves everything here, so that each row is logged once: as dropped, by its own run alone."""
    async with serve(solve=1.0) as server, weak2wise.Host(config_at(server.base_url)) as host:
        runs = await asyncio.gather(
            *(
                weak2wise.asynthesize(questions(i % 3 + 1, 10 * i), host.config, work_dir=tmp_path / str(i), host=host)
                for i in range(count)
            )
        )
    for i, run in enumerate(runs):
        rows = list(range(1, i % 3 + 2))
        assert (run.work_dir, run.state) == (tmp_path / str(i), "finished")
        assert run.totals.dropped == {"weak_solves": len(rows)}
        assert [end.row for end in run.dropped()] == rows
        log = events(run.work_dir)
        assert [log[0]["event"], log[-1]["event"]] == ["run.started", "run.finished"]
        counts = names(run.work_dir)
        del counts["progress"]  # there is one if the machine is slow
        assert counts == {"run.started": 1, "record.dropped": len(rows), "run.finished": 1}
        assert log[0]["output"] == str(run.work_dir / "finetune.jsonl")
        assert sorted(event["row"] for event in log if "row" in event) == rows


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """A server that refuses every prompt and repeats the key in its message; yields its base URL."""

    async def refuse(request: web.BaseRequest) -> web.Response:
        message = f"Not with this prompt and {request.headers['Authorization']}"
        return web.json_response({"error": {"message": message}}, status=400)

    http = web.Server(refuse)
    listener = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()
        await http.shutdown(0.01)


async def test_each_run_s_log_hides_its_own_key(tmp_path: Path) -> None:
    """On a host whose keys are looked up in an environment of its own, and with runs whose endpoints differ."""
    env = {"KEY_A": "secret-of-a", "KEY_B": "secret-of-b"}
    async with serve() as server, echoing() as url:
        ends = {
            "weak": endpoint(server.base_url, "weak"),
            "a": endpoint(url, "strong-a", api_key_env="KEY_A"),
            "b": endpoint(url, "strong-b", api_key_env="KEY_B"),
        }
        params = weak2wise.Params(judge_mode="rule", skip_filter=True, samples_per_model=1)
        engine = weak2wise.EngineOptions(max_error_rate=1.0, salvage_rounds=0)

        def config(*strong: str) -> weak2wise.Config:
            return config_at(
                server.base_url,
                models=weak2wise.Models(mweak="weak", mstrong=strong),
                endpoints={name: ends[name] for name in ("weak", *strong)},
                params=params,
                engine=engine,
            )

        async with weak2wise.Host(config("a", "b"), env=env) as host:
            runs = await asyncio.gather(
                *(
                    weak2wise.asynthesize(questions(3), config(name), work_dir=tmp_path / name, host=host)
                    for name in ("a", "b")
                )
            )
    for run in runs:
        assert {failed.kind for failed in run.failed()} == {"bad_request"}
        assert all("Bearer [redacted]" in failed.message for failed in run.failed())
        assert "[redacted]" in (run.work_dir / "run.log").read_text()
        written = [path for path in run.work_dir.rglob("*") if path.is_file()]
        assert [path for path in written if b"secret-of" in path.read_bytes()] == []


@pytest.mark.slow
async def test_two_runs_on_an_endpoint_of_8_in_flight_never_have_9(tmp_path: Path) -> None:
    async with serve(latency=0.01) as server:
        config = config_at(server.base_url, shared={"max_concurrent_requests": 8})
        async with weak2wise.Host(config) as host:
            await asyncio.gather(
                *(
                    weak2wise.asynthesize(questions(30, first), config, work_dir=tmp_path / str(first), host=host)
                    for first in (0, 30)
                )
            )
        peak = {name: count.max_in_flight for name, count in server.stats.models.items()}
    assert peak["weak"] == 8
    assert peak["strong-a"] <= 8


@pytest.mark.slow
async def test_one_budget_holds_for_all_runs_of_a_host(tmp_path: Path) -> None:
    """Both runs stop, and what was paid for is kept."""
    async with serve(latency=0.01) as server:
        config = config_at(
            server.base_url,
            shared={"prices": PRICES, "max_concurrent_requests": 2, "max_tokens": 1000},
            engine=weak2wise.EngineOptions(max_cost_usd=3.0),
        )
        async with weak2wise.Host(config) as host:
            stops = await asyncio.gather(
                *(
                    weak2wise.asynthesize(questions(30, first), config, work_dir=tmp_path / str(first), host=host)
                    for first in (0, 30)
                ),
                return_exceptions=True,
            )
            spent = host.budget.spent
    assert [type(stop) for stop in stops] == [weak2wise.RunStopped] * 2
    assert all("engine.max_cost_usd" in stop.hint for stop in stops if isinstance(stop, weak2wise.RunStopped))
    runs = [weak2wise.open_run(tmp_path / str(first)) for first in (0, 30)]
    assert [run.state for run in runs] == ["stopped", "stopped"]
    assert sum(use.cost_usd for run in runs for use in run.summary.roles) == pytest.approx(spent)
    assert 1.0 < spent <= 3.0, "a budget for each would be twice as much"


async def test_a_run_that_does_not_fit_its_host_is_refused_with_the_key(tmp_path: Path) -> None:
    async with serve() as server, weak2wise.Host(config_at(server.base_url)) as host:
        other = config_at(server.base_url, shared={"max_tokens": 5})
        with pytest.raises(weak2wise.ConfigError, match=r"model_endpoints\.weak: differs from the host's config"):
            await weak2wise.asynthesize(questions(1), other, work_dir=tmp_path / "a", host=host)
        assert not (tmp_path / "a").exists()


@pytest.mark.slow
async def test_runs_one_after_another_on_a_host_keep_their_logs_apart(tmp_path: Path) -> None:
    async with serve() as server, weak2wise.Host(config_at(server.base_url)) as host:
        first = await weak2wise.asynthesize(questions(2), host.config, work_dir=tmp_path / "a", host=host)
        before = (first.work_dir / "run.log").read_bytes()
        await weak2wise.asynthesize(questions(2, 5), host.config, work_dir=tmp_path / "b", host=host)
    assert (first.work_dir / "run.log").read_bytes() == before
    assert names(tmp_path / "b")["run.finished"] == 1


def test_a_run_in_a_plain_asyncio_program_in_a_thread_and_after_another(
    tmp_path: Path, server: LoopbackProcess
) -> None:
    config = config_at(server.base_url, params=weak2wise.Params(n_mask=2, judge_mode="rule", skip_filter=True))
    runs = [asyncio.run(weak2wise.asynthesize(questions(2), config, work_dir=tmp_path / "plain"))]
    runs.append(weak2wise.synthesize(questions(2), config, work_dir=tmp_path / "uvloop"))
    worker = threading.Thread(
        target=lambda: runs.append(weak2wise.synthesize(questions(2), config, work_dir=tmp_path / "thread"))
    )
    worker.start()
    worker.join()
    assert [run.state for run in runs] == ["finished"] * 3
    made = [(run.work_dir / "finetune.jsonl").read_bytes() for run in runs]
    assert made[0] == made[1] == made[2] != b""
    assert {count.asked for count in asked(server).values()} == {3}


async def test_synthesize_inside_a_running_loop_says_what_to_await() -> None:
    with pytest.raises(RuntimeError, match=r"await weak2wise\.asynthesize"):
        weak2wise.synthesize(questions(1), config_at("http://127.0.0.1:9/v1"))
