"""Compare a whole run, everything durable, with a bare aiohttp loop: the same number of chats, in one run.

The run takes questions up to step 2: the weak LLM's attempt, judged by rule, and for each question that it does not
solve one trace of a strong LLM. Both models are the loopback server's. The bare loop posts as many bodies, encoded
once, and reads the bytes of the answers. Each way has a process of its own; rounds alternate, so that a slower machine
slows both. The run is the whole command, with the start of Python and the end of its work_dir; of the bare loop only
the loop is counted.

Run: python scripts/bench_pipeline.py [--tree ../before --tree .]
"""

import argparse
import asyncio
import multiprocessing
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import uvloop

from scripts.bench_http import bare
from scripts.measured import run_program
from tests.engine_runs import config_for, write_run
from tests.loopback import LoopbackProcess

CHATS_PER_QUESTION = 1.7
"""The loopback server's weak model solves three questions of ten."""


def run_bare(base_url: str, chats: int, in_flight: int) -> tuple[float, float]:
    """Seconds and CPU seconds of the bare loop."""
    cpu, began = _cpu(), time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bare(base_url, chats, in_flight))
    return time.perf_counter() - began, _cpu() - cpu


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def alone(base_url: str, chats: int, in_flight: int) -> tuple[float, float]:
    """What the bare loop takes in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run_bare, base_url, chats, in_flight).result()


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
    parser.add_argument("--tree", type=Path, action="append", help="a source tree to measure (this one)")
    options = parser.parse_args()
    trees = [tree.resolve() for tree in options.tree or [Path(__file__).parent.parent]]
    ratios: dict[Path, list[float]] = {tree: [] for tree in trees}
    with LoopbackProcess(latency=options.latency, uvloop=True) as server:
        for round_ in range(1, options.rounds + 1):
            bare_seconds, bare_cpu = alone(server.base_url, options.chats, options.in_flight)
            print(f"round {round_}: bare", _rates(options.chats, bare_seconds, bare_cpu), flush=True)
            for tree in trees:
                before = _answered(server)
                with tempfile.TemporaryDirectory() as name:
                    config = prepared(Path(name), server.base_url, options.chats, options.in_flight)
                    seconds, cpu, _ = run_program(tree, "--config", str(config), "--up-to-step", "2")
                chats = _answered(server) - before
                ratios[tree].append(bare_seconds / options.chats / (seconds / chats))
                print(
                    f"round {round_}: {tree.name}", _rates(chats, seconds, cpu), f"({ratios[tree][-1]:.2f})", flush=True
                )
    print(f"{options.in_flight} in flight, {options.latency * 1000:g} ms latency; median of the rates against bare:")
    for tree in trees:
        print(f"  {tree.name}: {statistics.median(ratios[tree]):.2f}")


def _rates(chats: int, seconds: float, cpu: float) -> str:
    return f"{chats:,} chats, {chats / seconds:,.0f} a second, {1000 * cpu / chats:.3f} ms CPU each"


def _answered(server: LoopbackProcess) -> int:
    return sum(model.answered for model in server.stats().models.values())


if __name__ == "__main__":
    main()
