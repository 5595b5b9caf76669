"""The shared desk of a run on many machines, at the rates of real calls between processes: ``bench_cluster.py desk``.

Actors of Ray that need no CPU stand for hosts. Each keeps so many requests going, which a provider that is not there
takes ``LATENCY`` seconds for, and gets leave for each through the real client from the one real desk, an actor too.
"""

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import Any

import msgspec
import ray

from tests.engine_runs import ROOT, config_for, write_run
from weak2wise.cluster.actors import DeskActor
from weak2wise.config import load_config
from weak2wise.llm.desk.client import DeskClient
from weak2wise.llm.desk.messages import Reply, Report

ENDPOINT = "strong-a"
LATENCY = 0.2
WANTED = 32
"""Requests that each host keeps going or waiting."""
_REPLY = msgspec.msgpack.Decoder(Reply)


class Desk(DeskActor):
    """The desk, which also says what it has cost."""

    async def cost(self) -> tuple[float, int]:
        """CPU seconds of its process so far, and the most memory that it took, in KiB."""
        return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class StandIn:
    """Stands for a host."""

    def __init__(self, name: str, desk: Any) -> None:
        self._name = name
        self._desk = desk
        self._visits: list[float] = []

    async def ready(self) -> None:
        """Answer, to show that it lives."""

    async def work(self, begin: float, seconds: float) -> tuple[list[float], list[tuple[float, float]]]:
        """From the time ``begin`` on, ask for leave again and again.

        Returns:
            The seconds of each visit, and when each request began and ended.
        """

        async def visit(report: Report) -> Reply:
            began = time.monotonic()
            reply = _REPLY.decode(await self._desk.visit.remote(msgspec.msgpack.encode(report)))
            self._visits.append(time.monotonic() - began)
            return reply

        await asyncio.sleep(begin - time.time())
        client = DeskClient(self._name, visit)
        limits = client.limits(ENDPOINT)
        running = asyncio.create_task(client.run())
        requests: list[tuple[float, float]] = []

        async def ask() -> None:
            while time.time() < begin + seconds:
                slot = await limits.acquire()
                assert slot
                sent = time.time()
                await asyncio.sleep(LATENCY)
                slot.answered(100)
                slot.release()
                requests.append((sent, time.time()))

        await asyncio.gather(*(ask() for _ in range(WANTED)))
        await client.visit()
        running.cancel()
        return self._visits, requests


def most_at_once(requests: list[tuple[float, float]]) -> int:
    """How many requests were going at the same time, at most."""
    most = going = 0
    for _, change in sorted([*((began, 1) for began, _ in requests), *((ended, -1) for _, ended in requests)]):
        going += change
        most = max(most, going)
    return most


def desk(folder: Path, hosts: int, seconds: float) -> dict[str, Any]:
    """Let so many hosts share a limit of half of what they want, and measure."""
    limit = hosts * WANTED // 2
    config = config_for(folder, "http://127.0.0.1:1/v1")
    config["model_endpoints"][ENDPOINT] |= {"max_concurrent_requests": limit}
    write_run(folder, config, 1)
    os.environ |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    try:
        shared = ray.remote(Desk).options(num_cpus=0, max_concurrency=1000).remote()
        ray.get(shared.open.remote(load_config(folder / "config.yaml"), 0.0, hosts))
        stand_in = ray.remote(StandIn).options(num_cpus=0)
        actors = [stand_in.remote(f"host-{number}", shared) for number in range(hosts)]
        ray.get([actor.ready.remote() for actor in actors])
        before, _ = ray.get(shared.cost.remote())
        found = ray.get([actor.work.remote(time.time() + 3, seconds) for actor in actors])
        cpu, kib = ray.get(shared.cost.remote())
    finally:
        ray.shutdown()
    visits = sorted(took for each, _ in found for took in each)
    requests = [request for _, each in found for request in each]
    took = max(ended for _, ended in requests) - min(began for began, _ in requests)
    return {
        "hosts": hosts,
        "limit": limit,
        "most_in_flight": most_at_once(requests),
        "slots_a_second": round(len(requests) / took),
        "share_of_what_the_limit_allows": round(len(requests) / took / (limit / LATENCY), 2),
        "visits_a_second": round(len(visits) / took),
        "slots_a_visit": round(len(requests) / len(visits), 1),
        "visit_ms_median": round(1000 * visits[len(visits) // 2], 1),
        "visit_ms_99_percent": round(1000 * visits[len(visits) * 99 // 100], 1),
        "desk_cpu_of_a_core": round((cpu - before) / took, 2),
        "desk_peak_mib": kib >> 10,
    }
