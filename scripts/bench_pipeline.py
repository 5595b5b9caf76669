"""Compare a whole run, everything durable, with a bare aiohttp loop: the same number of chats, in one run.

The run takes questions up to step 2: the weak LLM's attempt, judged by rule, and for each question that it does not
solve one trace of a strong LLM. Both models are the loopback server's. The bare loop posts as many bodies, encoded
once, and reads the bytes of the answers. Each way has a process of its own; rounds alternate, so that a slower machine
slows both. The run's seconds and CPU include opening and closing its work_dir, but not the start of Python.

Run: python scripts/bench_pipeline.py
"""

import argparse
import asyncio
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import uvloop

from scripts.bench_http import bare
from tests.engine_runs import config_for, write_run
from tests.loopback import LoopbackProcess
from weak2wise.commands.carry_out import carry_out

CHATS_PER_QUESTION = 1.7
"""The loopback server's weak model solves three questions of ten."""


def run_bare(base_url: str, chats: int, in_flight: int) -> tuple[float, float]:
    """Seconds and CPU seconds of the bare loop."""

    def loop() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bare(base_url, chats, in_flight))

    return _timed(loop)


def run_pipeline(config: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of a run."""

    def run() -> None:
        if code := carry_out(config, [], up_to_step=2):
            raise SystemExit(f"the run ended with {code}")

    return _timed(run)


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    cpu, began = _cpu(), time.perf_counter()
    work()
    return time.perf_counter() - began, _cpu() - cpu


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def alone(way: Callable[..., tuple[float, float]], *arguments: Any) -> tuple[float, float]:
    """What a way takes in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(way, *arguments).result()


def prepared(folder: Path, base_url: str, chats: int, in_flight: int) -> Path:
    """The config of a run of about so many chats."""
    config = config_for(folder, base_url, judge_mode="rule")
    config["models"] |= {"mstrong": ["strong-a"]}
    for endpoint in config["model_endpoints"].values():
        endpoint |= {"max_concurrent_requests": in_flight, "limit_group": "one"}
    write_run(folder, config, round(chats / CHATS_PER_QUESTION))
    return folder / "config.yaml"


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chats", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    with LoopbackProcess(latency=options.latency, uvloop=True) as server:
        for round_ in range(options.rounds):
            with tempfile.TemporaryDirectory() as name:
                before = _answered(server)
                seconds, cpu = alone(
                    run_pipeline, prepared(Path(name), server.base_url, options.chats, options.in_flight)
                )
                chats = _answered(server) - before
            bare_seconds, bare_cpu = alone(run_bare, server.base_url, chats, options.in_flight)
            ratios.append(bare_seconds / seconds)
            print(
                f"round {round_ + 1}: {chats:,} chats; bare {chats / bare_seconds:,.0f} a second, "
                f"{1000 * bare_cpu / chats:.3f} ms CPU each; run {chats / seconds:,.0f} a second, "
                f"{1000 * cpu / chats:.3f} ms CPU each; ratio of the rates {ratios[-1]:.2f}",
                flush=True,
            )
    print(
        f"{options.in_flight} in flight, {options.latency * 1000:g} ms latency: "
        f"median ratio {statistics.median(ratios):.2f}"
    )


def _answered(server: LoopbackProcess) -> int:
    return sum(model.answered for model in server.stats().models.values())


if __name__ == "__main__":
    main()
