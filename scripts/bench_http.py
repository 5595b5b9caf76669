"""Compare the engine's HTTP endpoint with a bare aiohttp loop, on one loopback server, in one run.

Both ask the same 2,000 questions, 256 in flight, of a server that takes 100 ms to answer. The bare loop posts a body
that was encoded once and reads bytes; the endpoint renders each prompt, waits for its slot, decodes a typed completion
and writes it to the journal before it returns it. Rounds alternate, so that a slower machine slows both. Garbage is
collected as seldom as in a run, for both.

Run: python scripts/bench_http.py
"""

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from tests.loopback import LoopbackProcess
from tests.loopback.answers import make_question
from weak2wise.commands.carry_out import tune_memory
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.call import Call, calling
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journal, Journaled
from weak2wise.llm.model import Message, Prompt
from weak2wise.llm.retry import Retried


async def bare(base_url: str, requests: int, in_flight: int) -> None:
    """The minimum that any client must do."""
    question, _ = make_question(0)
    body = msgspec.json.encode(
        {"model": "weak", "messages": [{"role": "user", "content": question}], "temperature": 0.6, "max_tokens": 8192}
    )
    slots = asyncio.Semaphore(in_flight)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def call() -> None:
            async with slots, session.post(f"{base_url}/chat/completions", data=body) as response:
                assert response.status == 200
                await response.read()

        await asyncio.gather(*(call() for _ in range(requests)))


async def endpoint(base_url: str, requests: int, in_flight: int) -> None:
    """What the engine does: prompt, retries, limits, typed completion without secrets, journal."""
    settings = OpenAIEndpoint(
        model_id="weak", base_url=base_url, max_concurrent_requests=in_flight, api_key_env="BENCH_KEY"
    )
    parts = HostParts(env={"BENCH_KEY": "sk-" + "0123456789abcdef" * 3})
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), max_bytes=1 << 28, fsync_seconds=1.0)
        journal.open(lambda _role: b"")
        async with OpenAIModel("bench", settings, parts) as model:
            retried = Retried(model, max_retries=6)
            journaled = Journaled(
                retried, journal, role="weak", endpoint="bench", settings={}, redact=model.redact_answer
            )

            drain = Drain()  # one for all calls, as in a run

            async def call(row: int) -> None:
                question, _ = make_question(row)
                prompt = Prompt(messages=(Message("user", question),), temperature=0.6, seed=row)
                with calling(Call(row=row, drain=drain)):
                    completion = await journaled.complete(prompt)
                assert completion.text

            await asyncio.gather(*(call(row) for row in range(requests)))
        await journal.close()
        assert journal.spent["weak", "bench"].calls == requests


def measure(way: Callable[[str, int, int], Awaitable[None]], *arguments: object) -> tuple[float, float]:
    """Requests per second, and CPU milliseconds a request."""
    base_url, requests, in_flight = arguments
    assert isinstance(base_url, str)
    assert isinstance(requests, int)
    assert isinstance(in_flight, int)

    async def timed() -> None:
        await way(base_url, requests, in_flight)

    cpu_before, began = _cpu(), time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(timed())
    seconds = time.perf_counter() - began
    return requests / seconds, 1000 * (_cpu() - cpu_before) / requests


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ways = {"bare aiohttp": bare, "weak2wise endpoint": endpoint}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    tune_memory()
    costs: dict[str, list[float]] = {name: [] for name in ways}
    with LoopbackProcess(latency=options.latency, uvloop=True) as server:
        for round_ in range(options.rounds + 1):  # the first warms both up
            for name, way in ways.items():
                rate, cost = measure(way, server.base_url, options.requests, options.in_flight)
                if round_:
                    rates[name].append(rate)
                    costs[name].append(cost)
    print(
        f"{options.requests} requests, {options.in_flight} in flight, {options.latency * 1000:g} ms latency, "
        f"median of {options.rounds} rounds"
    )
    for name in ways:
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"{name:20} {rate:8,.0f} requests/s {cost:8.3f} ms CPU a request")
    mine, theirs = rates["weak2wise endpoint"], rates["bare aiohttp"]
    print(f"requests per second, ratio of each round: {_ratios(mine, theirs)}")
    mine, theirs = costs["weak2wise endpoint"], costs["bare aiohttp"]
    print(f"CPU per request, ratio of each round: {_ratios(mine, theirs)}")


def _ratios(mine: list[float], theirs: list[float]) -> str:
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return f"median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
