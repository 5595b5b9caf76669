"""Several hosts in one process, over HTTP, with one desk: a strict server refuses nothing, and one cap holds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import weak2wise
from tests.api.runs import config_at, questions
from tests.loopback import Fault, Match, serve
from weak2wise.llm.desk.client import DeskClient
from weak2wise.llm.desk.desk import Desk
from weak2wise.llm.desk.messages import Reply, Report
from weak2wise.run.desk import desk_for

pytestmark = pytest.mark.slow

PARAMS = weak2wise.Params(samples_per_model=1, n_mask=2, judge_mode="rule", skip_filter=True)


@asynccontextmanager
async def hosts_at(desk: Desk, config: weak2wise.Config, count: int) -> AsyncIterator[list[weak2wise.Host]]:
    """Hosts of one config that share a desk; what they say to it goes through bytes, as between processes."""

    async def visit(report: Report) -> Reply:
        reply = await desk.visit(msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=Report))
        return msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=Reply)

    clients = [DeskClient(f"host-{number}", visit, config.engine.max_cost_usd) for number in range(count)]
    hosts = [weak2wise.Host(config, desk=client) for client in clients]
    visiting = [asyncio.create_task(client.run()) for client in clients]
    try:
        for host in hosts:
            await host.__aenter__()
        yield hosts
        for host in hosts:
            await host.__aexit__(None, None, None)
    finally:
        for task in visiting:
            task.cancel()
        await asyncio.gather(*visiting, return_exceptions=True)


def runs(hosts: list[weak2wise.Host], config: weak2wise.Config, folder: Path, rows: int) -> list[Any]:
    return [
        weak2wise.asynthesize(questions(rows, rows * at), config, work_dir=folder / str(at), host=host)
        for at, host in enumerate(hosts)
    ]


async def test_a_strict_server_refuses_nothing_to_hosts_that_share_a_desk(tmp_path: Path) -> None:
    async with serve(latency=0.05, max_in_flight=8) as server:
        config = config_at(server.base_url, shared={"max_concurrent_requests": 8}, params=PARAMS)
        desk = desk_for(config, hosts=3)
        async with hosts_at(desk, config, 3) as hosts:
            done = await asyncio.gather(*runs(hosts, config, tmp_path, 30))
        counts = server.stats.models
    assert [run.summary.totals.emitted for run in done] == [30, 30, 30]
    assert {name: (count.failed, count.max_in_flight) for name, count in counts.items()} == {
        "weak": ({}, 8),
        "strong-a": ({}, 8),
    }


async def test_endpoints_of_one_limit_group_share_it_on_all_hosts(tmp_path: Path) -> None:
    async with serve(latency=0.03) as server:
        shared = {"limit_group": "lab", "max_concurrent_requests": 4}
        config = config_at(server.base_url, shared=shared, params=PARAMS)
        desk = desk_for(config, hosts=2)
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, sum(count.in_flight for count in server.stats.models.values()))
                await asyncio.sleep(0.001)

        looking = asyncio.create_task(look())
        async with hosts_at(desk, config, 2) as hosts:
            await asyncio.gather(*runs(hosts, config, tmp_path, 10))
        looking.cancel()
    assert most == 4


async def test_hosts_of_one_desk_stay_under_one_cap_and_all_stop(tmp_path: Path) -> None:
    """A hundred calls in flight, each of about 0.1 US dollars, at most 0.3."""
    prices = weak2wise.Prices(input=10.0, output=250.0)
    shared: dict[str, Any] = {"prices": prices, "max_concurrent_requests": 100, "max_tokens": 1000}
    async with serve(latency=0.05) as server:
        config = config_at(
            server.base_url, shared=shared, params=PARAMS, engine=weak2wise.EngineOptions(max_cost_usd=2.0)
        )
        desk = desk_for(config, hosts=2, spent=0.5)
        async with hosts_at(desk, config, 2) as hosts:
            stops = await asyncio.gather(*runs(hosts, config, tmp_path, 50), return_exceptions=True)
    assert [type(stop) for stop in stops] == [weak2wise.RunStopped] * 2
    assert all("of 2 US dollars too little is left" in str(stop) for stop in stops)
    spent = sum(use.cost_usd for at in (0, 1) for use in weak2wise.open_run(tmp_path / str(at)).summary.roles)
    assert 1.0 < spent <= 1.5
    assert desk.budget.spent == pytest.approx(0.5 + spent)


async def test_a_role_that_only_fails_stops_all_hosts_after_a_hundred_calls_together(tmp_path: Path) -> None:
    """Each alone has 90 questions, so by itself it would go on to its end."""
    async with serve(faults=(Fault("400", Match(model="strong-a"), times=1000),)) as server:
        config = config_at(
            server.base_url,
            params=PARAMS,
            shared={"max_concurrent_requests": 4},
            engine=weak2wise.EngineOptions(max_error_rate=0.5),
        )
        desk = desk_for(config, hosts=4)
        async with hosts_at(desk, config, 4) as hosts:
            stops = await asyncio.gather(*runs(hosts, config, tmp_path, 90), return_exceptions=True)
        asked = server.stats.models["strong-a"].received
    assert sum("calls for the role 'strong' failed" in str(stop) for stop in stops) == 4
    assert 100 <= asked < 150


async def test_a_host_has_its_own_limits_without_a_desk(tmp_path: Path) -> None:
    async with serve(latency=0.05, max_in_flight=8) as server:
        config = config_at(server.base_url, shared={"max_concurrent_requests": 8}, params=PARAMS)
        async with weak2wise.Host(config) as first, weak2wise.Host(config) as second:
            await asyncio.gather(*runs([first, second], config, tmp_path, 20))
        refused = sum(count.failed.get("too_many", 0) for count in server.stats.models.values())
    assert refused > 0, "so what the tests above find is due to the desk"
