"""``/healthz`` and the metrics say what a run waits for, and what is wrong with it, as it really happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import weak2wise
from tests.engine_runs import run_in, save
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings
from tests.watch.looking import at, get
from weak2wise.config import load_config
from weak2wise.llm import endpoint as endpoint_module
from weak2wise.run.engine import Engine
from weak2wise.watch import health, vitals
from weak2wise.watch.page import served


class Frozen(weak2wise.Endpoint):
    """An embedded engine that takes calls and answers none."""

    version = "1"
    embedded = True
    calls = 0

    def load(self) -> weak2wise.Load:
        return weak2wise.Load(in_flight=Frozen.calls, limit=8)

    async def complete(self, _prompt: weak2wise.Prompt, /) -> weak2wise.Completion:
        Frozen.calls += 1
        try:
            await asyncio.sleep(3600)
        finally:
            Frozen.calls -= 1
        raise AssertionError


class Looked:
    """The page of a run, looked at from outside."""

    def __init__(self, base: str, run: str) -> None:
        self._base = base
        self._run = run

    async def health(self) -> tuple[int, dict[str, Any]]:
        status, _, text = await asyncio.to_thread(get, f"{self._base}healthz")
        return status, json.loads(text)

    async def until(self, state: str) -> tuple[int, str]:
        """The status and the reason once the run is in a state."""
        async with asyncio.timeout(30):
            while (said := (found := await self.health())[1])["state"] != state:
                await asyncio.sleep(0.05)
        return found[0], said.get("reason", "")

    async def metrics(self) -> dict[str, float]:
        _, _, text = await asyncio.to_thread(lambda: get(f"{self._base}metrics", Authorization="Bearer open-sesame"))
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        assert {sample.labels["run"] for sample in samples} == {self._run}, "every metric says whose it is"
        return {"/".join([s.name, *(v for k, v in s.labels.items() if k != "run")]): s.value for s in samples}


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Looked]:
    """The run of a folder's config, with its page; it is stopped at the end."""
    engine = Engine(load_config(folder / "config.yaml"))
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(opened, at("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        looked = Looked(url.partition("?")[0], f"{folder.name}/work")
        assert (await looked.health())[1]["state"] == "starting"
        run = asyncio.create_task(engine.run(opened))
        try:
            yield looked
        finally:
            run.cancel()
            await asyncio.wait([run])


@pytest.fixture(scope="module")
def slow() -> Any:
    """A server that takes its time, so that a run lasts."""
    with LoopbackProcess(latency=0.3) as server:
        yield server


@pytest.mark.slow
async def test_a_run_that_gets_on_is_well_and_says_what_alerts_need(tmp_path: Path, slow: LoopbackProcess) -> None:
    config = run_in(tmp_path, slow.base_url, 40)
    config["engine"] = {"max_cost_usd": 12.5}
    config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 8.0}
    save(tmp_path, config)
    async with running(tmp_path) as looked:
        assert await looked.until("running") == (200, "")
        async with asyncio.timeout(30):
            while not (found := await looked.metrics())["weak2wise_budget_spent_usd"]:
                await asyncio.sleep(0.1)
    assert found[f"weak2wise_info/{weak2wise.__version__}"] == 1
    assert found["weak2wise_healthy"] == 1
    assert found["weak2wise_ended"] == 0
    assert found["weak2wise_budget_usd"] == 12.5
    assert 0 <= found["weak2wise_seconds_without_progress"] < 10
    assert 0 < found["weak2wise_disk_free_bytes"] < found["weak2wise_disk_size_bytes"]
    assert {found[f"weak2wise_waiting/{kind}"] for kind in ("batch", "off_peak", "outage")} == {0}


async def test_a_run_that_waits_for_off_peak_prices_is_well_and_says_until_when(
    tmp_path: Path, slow: LoopbackProcess
) -> None:
    now = datetime.now(UTC)
    peak = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=2):%H:%M}"
    config = run_in(tmp_path, slow.base_url, 4)
    for name in ("strong-a", "strong-b"):
        prices = {"input": 1.0, "output": 10.0, "off_peak": {"factor": 0.5, "peak": [peak]}}
        config["model_endpoints"][name]["prices"] = prices
    save(tmp_path, config | {"engine": {"wait_for_off_peak": True}})
    async with running(tmp_path) as looked:
        status, reason = await looked.until("waiting")
        assert status == 200
        assert f"calls wait for off-peak prices, until {now + timedelta(hours=2):%H:%M}" in reason
        assert (await looked.metrics())["weak2wise_waiting/off_peak"] == 1


@pytest.mark.slow
async def test_a_run_that_waits_for_a_batch_is_well_and_says_how_many_requests_are_out(tmp_path: Path) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=60)) as server:
        config = run_in(tmp_path, server.base_url, 4, skip_filter=True)
        for name in ("strong-a", "strong-b"):
            config["model_endpoints"][name]["batch"] = {"max_wait": "100ms", "poll": "1s"}
        save(tmp_path, config)
        async with running(tmp_path) as looked:
            status, reason = await looked.until("waiting")
            assert status == 200
            assert "requests wait for batches at their provider" in reason
            assert (await looked.metrics())["weak2wise_waiting/batch"] == 1


@pytest.mark.slow
async def test_an_endpoint_that_is_down_is_waited_for(tmp_path: Path, slow: LoopbackProcess) -> None:
    config = run_in(tmp_path, slow.base_url, 4, skip_filter=True)
    for name in ("strong-a", "strong-b"):
        config["model_endpoints"][name]["base_url"] = "http://127.0.0.1:9/v1"
    save(tmp_path, config)
    async with running(tmp_path) as looked:
        status, reason = await looked.until("waiting")
        assert status == 200
        assert "an endpoint has not answered for" in reason
        assert (await looked.metrics())["weak2wise_waiting/outage"] == 1


@pytest.mark.slow
async def test_a_frozen_engine_is_not_well(tmp_path: Path, slow: LoopbackProcess, monkeypatch: Any) -> None:
    monkeypatch.setitem(endpoint_module.BUILT_IN, "vllm", "tests.watch.test_health:Frozen")
    monkeypatch.setattr(health, "FROZEN_SECONDS", 2.0)
    config = run_in(tmp_path, slow.base_url, 4)
    config["model_endpoints"]["weak"] = {"type": "vllm", "model_name": "weak"}
    save(tmp_path, config)
    async with running(tmp_path) as looked:
        assert (await looked.until("running"))[0] == 200
        status, reason = await looked.until("frozen")
        assert status == 503
        assert "an embedded engine has answered none of its calls" in reason
        found = await looked.metrics()
        assert found["weak2wise_healthy"] == 0
        assert found["weak2wise_seconds_without_progress"] > 1


async def test_a_full_disk_is_not_well(tmp_path: Path, slow: LoopbackProcess, monkeypatch: Any) -> None:
    run_in(tmp_path, slow.base_url, 40)
    async with running(tmp_path) as looked:
        await looked.until("running")
        monkeypatch.setattr(vitals, "FULL_BYTES", 1 << 60)
        status, reason = await looked.until("disk_full")
        assert status == 503
        assert "the disk of the work_dir is full: there is room for" in reason
        monkeypatch.setattr(vitals, "FULL_BYTES", 0)
        assert (await looked.health())[0] == 200


async def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, slow: LoopbackProcess) -> None:
    run_in(tmp_path, slow.base_url, 40)
    async with running(tmp_path) as looked:
        await looked.until("running")
        (tmp_path / "work").rename(tmp_path / "moved")
        status, reason = await looked.until("disk_full")
        assert (status, reason) == (503, "the disk of the work_dir does not answer")
        assert "weak2wise_disk_free_bytes" not in await looked.metrics()
