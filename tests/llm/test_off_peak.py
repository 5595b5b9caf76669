"""Calls to strong models wait for off-peak hours, all others do not; each is counted at the price of its hour."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.logs import captured_logs
from tests.loopback import LoopbackProcess, make_question
from weak2wise.config import OpenAIEndpoint
from weak2wise.config.prices import OffPeak
from weak2wise.llm.call import Call, calling
from weak2wise.llm.cost import CostBudget, Reservation
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Message, Prompt
from weak2wise.llm.off_peak import OffPeakBarrier

OFF_PEAK = {"factor": 0.25, "peak": ["01:00-04:00"]}
PEAK, CHEAP = datetime(2026, 11, 27, 2, 0, tzinfo=UTC), datetime(2026, 11, 27, 5, 0, tzinfo=UTC)
PROMPT = Prompt(messages=(Message("user", make_question(1)[0]),), temperature=0.0, seed=1)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def model(server: LoopbackProcess, budget: CostBudget | None = None, *, waits: bool = False) -> OpenAIModel:
    prices: Any = {"input": 1.0, "output": 10.0, "off_peak": OFF_PEAK}
    settings = OpenAIEndpoint(model_id="strong-a", base_url=server.base_url, prices=prices)
    return OpenAIModel("s", settings, HostParts(budget=budget or CostBudget(), wait_for_off_peak=waits))


@pytest.mark.parametrize(("now", "factor"), [(PEAK, 1.0), (CHEAP, 0.25)])
async def test_an_answer_costs_what_its_hour_costs_and_the_dearest_is_reserved(
    server: LoopbackProcess, monkeypatch: pytest.MonkeyPatch, now: datetime, factor: float
) -> None:
    monkeypatch.setattr("weak2wise.llm.http.openai.utc_now", Clock(now))
    budget = CostBudget(10.0)
    reserved = []

    def reservation(name: str, usd: float) -> Reservation:
        reserved.append(usd)
        return CostBudget.reservation(budget, name, usd)

    monkeypatch.setattr(budget, "reservation", reservation)
    async with model(server, budget) as asked:
        usage = (await asked.complete(PROMPT)).usage
        full = (usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6
    assert usage.price_factor == factor
    assert asked.cost(usage) == pytest.approx(full * factor)
    assert budget.spent == pytest.approx(full * factor)
    assert reserved[0] >= 10 * 8192 / 1e6


@pytest.mark.slow
async def test_a_call_that_is_answered_after_its_hour_costs_what_it_did_when_it_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(CHEAP)
    monkeypatch.setattr("weak2wise.llm.http.openai.utc_now", clock)
    with LoopbackProcess(latency=0.3) as server:
        async with model(server) as asked:
            answer = asyncio.create_task(asked.complete(PROMPT))
            while not asked.meter.sent:
                await asyncio.sleep(0.01)
            clock.now = PEAK
            assert (await answer).usage.price_factor == 0.25


async def test_calls_to_strong_models_wait_and_hold_nothing_while_others_are_sent(server: LoopbackProcess) -> None:
    clock = Clock(CHEAP - timedelta(hours=1, milliseconds=300))
    began = asyncio.get_running_loop().time()
    start = clock.now
    async with model(server, CostBudget(10.0), waits=True) as asked:
        asked._barrier = OffPeakBarrier("s", asked.settings.prices.off_peak, clock)

        async def ask(role: str) -> Any:
            with calling(Call(role=role)):
                return await asked.complete(PROMPT)

        strong = [asyncio.create_task(ask("strong/s")) for _ in range(50)]
        assert (await ask("judge")).text
        load = asked.load()
        assert (load.held, load.held_until, load.in_flight, load.down) == (50, CHEAP - timedelta(hours=1), 0, None)
        assert asked.parts.budget._reserved == 0
        assert asked.meter.sent == 1
        while not all(task.done() for task in strong):
            clock.now = start + timedelta(seconds=asyncio.get_running_loop().time() - began)
            await asyncio.sleep(0.02)
        assert all(task.result().text for task in strong)
    assert asked.meter.faults == {}
    assert asked.load().held == 0


async def test_the_clock_is_looked_at_every_five_minutes_and_all_calls_go_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A timer does not see a machine that sleeps."""
    timers: list[tuple[float, Callable[[], None]]] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda seconds, look: timers.append((seconds, look)))
    opens = datetime(2026, 11, 27, 4, 0, tzinfo=UTC)
    clock = Clock(opens - timedelta(hours=1))
    barrier = OffPeakBarrier("s", OffPeak(**OFF_PEAK), clock)  # type: ignore[arg-type]
    with captured_logs() as events:
        waiting = [asyncio.create_task(barrier.wait()) for _ in range(3)]
        for before in (3600, 250, 0):
            clock.now = opens - timedelta(seconds=before)
            if before < 3600:
                timers[-1][1]()
            for _ in range(5):
                await asyncio.sleep(0)
            assert barrier.held == (3 if before else 0)
            assert barrier.opens == (opens if before else None)
    assert [seconds for seconds, _ in timers] == [300, 250]
    await asyncio.gather(*waiting)
    assert [(event["event"], event["endpoint"], event["until"]) for event in events] == [
        ("endpoint.held", "s", "2026-11-27T04:00:00+00:00")
    ]


async def test_a_clock_that_jumped_back_holds_the_calls_again() -> None:
    clock = Clock(CHEAP - timedelta(hours=1, milliseconds=50))
    barrier = OffPeakBarrier("s", OffPeak(**OFF_PEAK), clock)  # type: ignore[arg-type]
    waiting = asyncio.create_task(barrier.wait())
    await asyncio.sleep(0)
    clock.now = PEAK
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert barrier.held == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert barrier.held == 0


async def test_a_call_that_is_held_when_the_run_stops_is_never_sent(server: LoopbackProcess) -> None:
    clock, drain = Clock(CHEAP - timedelta(hours=1, milliseconds=100)), Drain()
    async with model(server, waits=True) as asked:
        asked._barrier = OffPeakBarrier("s", asked.settings.prices.off_peak, clock)
        with calling(Call(role="strong/s", drain=drain)):
            held = asyncio.create_task(asked.complete(PROMPT))
        await asyncio.sleep(0.02)
        await drain.drain(0)
        clock.now = CHEAP
        await asyncio.sleep(0.2)
        assert not held.done()
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
    assert asked.meter.sent == 0
