"""How well the adaptive limits find what a server allows, with nothing configured, on loopback servers.

Against a server that allows so many requests a minute, with 2% of 500s and resets in between: what share of them a
long run achieves once it has settled, and what share of requests is refused. A server may tell its limit in
x-ratelimit-* headers and Retry-After, or in Retry-After alone, and count by the second or by the minute; once its
limit is configured. Then a thousand requests against one that allows a hundred in any second, 64 in flight: how long
they take from the first to the last, and how many are refused. Against one that refuses some by chance, how much of
what the pauses leave is used. Last against a server without limits: answers a second
with several fixed numbers of requests in flight, and 25 to 30 seconds after the start with the adaptive limit.

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
"""Seconds over which answers a second are counted."""


class Run:
    """Questions asked without end, as fast as the endpoint's limits allow, until ``stop``."""

    def __init__(self, base_url: str, in_flight: int | None = None, rpm: float | None = None) -> None:
        settings = OpenAIEndpoint(
            model_id="weak", base_url=base_url, max_concurrent_requests=in_flight, max_requests_per_minute=rpm
        )
        self.model = OpenAIModel("bench", settings)
        self.answered = 0
        self._retried = Retried(self.model, max_retries=50)
        self._rows = itertools.count()

    async def _ask_on(self) -> None:
        for row in self._rows:
            await self._ask(row)

    async def _ask(self, row: int) -> None:
        question, _ = make_question(row)
        await self._retried.complete(Prompt(messages=(Message("user", question),), temperature=0.6, seed=row))
        self.answered += 1

    async def all_of(self, count: int) -> tuple[float, int]:
        """Ask so many questions; seconds until all are answered, and how many requests were refused."""
        async with self.model:
            began = time.monotonic()
            await asyncio.gather(*(self._ask(row) for row in range(count)))
            return time.monotonic() - began, self.model.meter.faults["rate_limited"]

    async def for_seconds(self, settle: float, measure: float) -> "Measured":
        """Answers a second and share of refusals after ``settle`` seconds, and the requests in flight at the end."""
        async with self.model:
            askers = [asyncio.create_task(self._ask_on()) for _ in range(ASKERS)]
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
            in_flight = int(self.model.limits.concurrency.size)
            for asker in askers:
                asker.cancel()
            for asker in askers:
                with contextlib.suppress(asyncio.CancelledError):
                    await asker
        return rate, share, in_flight


Measured = tuple[float, float, int]


def run(runs: list[Run], settle: float, measure: float) -> list[Measured]:
    """Runs side by side on an event loop of their own, one a server."""

    async def timed() -> list[Measured]:
        return await asyncio.gather(*(each.for_seconds(settle, measure) for each in runs))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(timed())


def limited(options: argparse.Namespace) -> None:
    """Print what share of the allowed requests comes through, for each way a server may tell its limit."""
    print(f"servers that allow so many requests a minute; settled for {options.settle:g} s, then {options.measure:g} s")
    limits = ((6000, 1.0), (6000, 60.0), (600, 60.0))
    cases = [(rpm, window, announced, False) for rpm, window in limits for announced in (True, False)]
    cases.append((6000, 1.0, False, True))
    faults = Mix({"500": 0.01, "reset_before_headers": 0.01})
    with contextlib.ExitStack() as stack:
        runs = []
        for rpm, window, announced, configured in cases:
            server = LoopbackProcess(rpm=rpm, rate_window=window, rate_headers=announced, faults=faults, latency=0.1)
            runs.append(Run(stack.enter_context(server).base_url, rpm=rpm if configured else None))
        measured = run(runs, options.settle, options.measure)
    for (rpm, window, announced, configured), (rate, refused, _) in zip(cases, measured, strict=True):
        allowed = 0.98 * rpm / 60  # the server counts the requests that it spoils
        how = "configured" if configured else "headers and Retry-After" if announced else "Retry-After"
        print(
            f"{rpm:6,} a minute, counted over {window:2g} s, {how:24} {rate / allowed:6.1%} of what is allowed, "
            f"{refused:6.2%} refused"
        )


def thousand(options: argparse.Namespace) -> None:
    """Print how long a thousand requests take where a hundred are allowed in any second; perfect would be ten."""
    print("1,000 requests, 100 allowed in any second, 64 in flight, Retry-After, 2% 500s and 2% resets")
    faults = Mix({"500": 0.02, "reset_before_headers": 0.02})
    for rpm in (None, 6000.0):
        with LoopbackProcess(rpm=6000, rate_window=1.0, faults=faults, latency=options.latency) as server:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                seconds, refused = runner.run(Run(server.base_url, 64, rpm).all_of(1000))
            known = "limit configured" if rpm else "nothing known of the limit"
            print(f"{known:26} {seconds:5.1f} s, {refused} refused, all answered")


def by_chance(options: argparse.Namespace) -> None:
    """Print what 429s cost that do not follow the rate, beyond the second's pause that each of them asks for."""
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

    The best fixed number and the adaptive limit take turns, so that a machine that slows down slows both.
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
