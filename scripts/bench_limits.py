"""How well the adaptive limits find what a server allows, with nothing configured, on loopback servers.

1. A server with a limit of requests a minute, and 2% of 500s and resets: what share of the limit a long run achieves
   once it has settled, and what share of requests is refused. The server reports its limit in x-ratelimit-* headers
   and Retry-After, or in Retry-After alone, and counts by the second or by the minute. In one case it is configured.
2. A thousand requests to a server that allows a hundred in any second, 64 in flight: the total time, and the number
   refused.
3. A server that refuses some requests at random: how much of the speed that the pauses leave is used.
4. A server without limits: answers a second with several fixed numbers of requests in flight, and 25 to 30 seconds
   after the start with the adaptive limit.

Run: python scripts/bench_limits.py
"""

import argparse
import asyncio
import contextlib
import itertools
import time

import uvloop

from tests.loopback import LoopbackProcess, Mix
from tests.loopback.answers import make_question
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Message, Prompt
from weak2wise.llm.retry import Retried

ASKERS = 1500
FIXED = (32, 64, 128, 256, 512, 1024)
SPAN = 5.0
"""Seconds over which the rate of answers is measured."""


class Run:
    """Asks questions as fast as the endpoint's limits allow."""

    def __init__(self, base_url: str, in_flight: int | None = None, rpm: float | None = None) -> None:
        settings = OpenAIEndpoint(
            model_id="weak", base_url=base_url, max_concurrent_requests=in_flight, max_requests_per_minute=rpm
        )
        self.model = OpenAIModel("bench", settings)
        self.answered = 0
        self._retried = Retried(self.model, max_retries=50)
        self._rows = itertools.count()

    async def _ask_forever(self) -> None:
        for row in self._rows:
            await self._ask(row)

    async def _ask(self, row: int) -> None:
        question, _ = make_question(row)
        await self._retried.complete(Prompt(messages=(Message("user", question),), temperature=0.6, seed=row))
        self.answered += 1

    async def all_of(self, count: int) -> tuple[float, int]:
        """Ask ``count`` questions. Returns the seconds until all are answered, and the number of refused requests."""
        async with self.model:
            began = time.monotonic()
            await asyncio.gather(*(self._ask(row) for row in range(count)))
            return time.monotonic() - began, self.model.meter.faults["rate_limited"]

    async def for_seconds(self, settle: float, measure: float) -> "Measured":
        """Answers a second and share of refusals after ``settle`` seconds, and the requests in flight at the end."""
        async with self.model:
            askers = [asyncio.create_task(self._ask_forever()) for _ in range(ASKERS)]
            await asyncio.sleep(settle)
            faults = self.model.meter.faults
            began, answered, sent, refused = (
                time.monotonic(),
                self.answered,
                self.model.meter.sent,
                faults["rate_limited"],
            )
            await asyncio.sleep(measure)
            rate = (self.answered - answered) / (time.monotonic() - began)
            share = (faults["rate_limited"] - refused) / max(1, self.model.meter.sent - sent)
            in_flight = self.model.limits.size
            for asker in askers:
                asker.cancel()
            for asker in askers:
                with contextlib.suppress(asyncio.CancelledError):
                    await asker
        return rate, share, in_flight


Measured = tuple[float, float, int]


def run(runs: list[Run], settle: float, measure: float) -> list[Measured]:
    """Runs in parallel on a new event loop, one for each server."""

    async def timed() -> list[Measured]:
        return await asyncio.gather(*(each.for_seconds(settle, measure) for each in runs))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(timed())


def limited(options: argparse.Namespace) -> None:
    """Print what share of the allowed requests is achieved, for each way in which a server reports its limit."""
    print(f"servers that allow so many requests a minute; settled for {options.settle:g} s, then {options.measure:g} s")
    limits = ((6000, 1.0), (6000, 60.0), (600, 60.0))
    cases = [(rpm, window, headers, False) for rpm, window in limits for headers in (True, False)]
    cases.append((6000, 1.0, False, True))
    faults = Mix({"500": 0.01, "reset_before_headers": 0.01})
    with contextlib.ExitStack() as stack:
        runs = []
        for rpm, window, headers, configured in cases:
            server = LoopbackProcess(rpm=rpm, rate_window=window, rate_headers=headers, faults=faults, latency=0.1)
            runs.append(Run(stack.enter_context(server).base_url, rpm=rpm if configured else None))
        measured = run(runs, options.settle, options.measure)
    for (rpm, window, headers, configured), (rate, refused, _) in zip(cases, measured, strict=True):
        allowed = 0.98 * rpm / 60  # the server also counts the requests that it fails
        how = "configured" if configured else "headers and Retry-After" if headers else "Retry-After"
        print(
            f"{rpm:6,} a minute, counted over {window:2g} s, {how:24} {rate / allowed:6.1%} of what is allowed, "
            f"{refused:6.2%} refused"
        )


def thousand(options: argparse.Namespace) -> None:
    """Print how long a thousand requests take where a hundred are allowed in any second. The optimum is ten seconds."""
    print("1,000 requests, 100 allowed in any second, 64 in flight, Retry-After, 2% 500s and 2% resets")
    faults = Mix({"500": 0.02, "reset_before_headers": 0.02})
    for rpm in (None, 6000.0):
        with LoopbackProcess(rpm=6000, rate_window=1.0, faults=faults, latency=options.latency) as server:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seconds, refused = runner.run(Run(server.base_url, 64, rpm).all_of(1000))
            known = "limit configured" if rpm else "limit unknown"
            print(f"{known:26} {seconds:5.1f} s, {refused} refused, all answered")


def by_chance(options: argparse.Namespace) -> None:
    """Print what random 429s cost, in addition to the pause of a second that each of them asks for."""
    chance = 0.005
    print(f"a server that refuses {chance:.1%} of requests by chance, 64 in flight, 60 s")
    rates = []
    for faults in (None, Mix({"429": chance})):
        with LoopbackProcess(faults=faults, latency=options.latency) as server:
            ((rate, _, _),) = run([Run(server.base_url, 64)], SPAN, 60)
            rates.append(rate)
    undisturbed, rate = rates
    left = undisturbed / (1 + undisturbed * chance)
    print(f"{rate:,.0f} answers/s: {rate / left:.0%} of the {left:,.0f} that the pauses leave of {undisturbed:,.0f}")


def unlimited(options: argparse.Namespace) -> None:
    """Print answers a second with a fixed number in flight and with the adaptive limit.

    The best fixed number and the adaptive limit take turns, so that a slower machine slows both.
    """
    print(f"a server without limits, {1000 * options.latency:g} ms latency")
    with LoopbackProcess(latency=options.latency) as server:

        def rate_of(in_flight: int | None, settle: float) -> tuple[float, int]:
            ((rate, _, found),) = run([Run(server.base_url, in_flight)], settle, SPAN)
            return rate, found

        rates = {in_flight: rate_of(in_flight, SPAN)[0] for in_flight in FIXED}
        for in_flight, rate in rates.items():
            print(f"{in_flight:6,} in flight      {rate:8,.0f} answers/s")
        best = max(rates, key=lambda in_flight: rates[in_flight])
        for _ in range(options.rounds):
            rate, found = rate_of(None, 30 - SPAN)
            fixed, _ = rate_of(best, 30 - SPAN)
            print(
                f"after 25 s: adaptive {rate:,.0f} answers/s with {found:,} in flight, "
                f"fixed at {best:,} {fixed:,.0f}: {rate / fixed:.0%}"
            )


def main() -> None:
    """Measure all, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--settle", type=float, default=120)
    parser.add_argument("--measure", type=float, default=180)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=["limited", "thousand", "by_chance", "unlimited"])
    options = parser.parse_args()
    for measurement in (limited, thousand, by_chance, unlimited):
        if options.only in {None, measurement.__name__}:
            measurement(options)


if __name__ == "__main__":
    main()
