"""The cost cap: what a call may cost is reserved before it is sent, so nothing in flight can exceed the cap."""

import asyncio
import random

import pytest

from tests.logs import captured_logs
from weak2wise.llm import cost
from weak2wise.llm.cost import CostBudget, Reservation
from weak2wise.llm.model import Usage
from weak2wise.llm.worst_case import WorstCase

TEMPLATE_TOKENS = 256


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "IDLE_SECONDS", 0.02)


async def spend(budget: CostBudget, endpoint: str, most: float, true: float, seconds: float = 0.001) -> None:
    """A call that may cost ``most`` and does cost ``true``."""
    reservation = budget.reservation(endpoint, most)
    try:
        if not reservation.take():
            await reservation.wait()
        await asyncio.sleep(seconds)
        reservation.settle(true)
    finally:
        reservation.release()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(budget: CostBudget, endpoint: str, usd: float) -> "tuple[Reservation, asyncio.Task[None]]":
    reservation = budget.reservation(endpoint, usd)
    assert not reservation.take()
    return reservation, asyncio.create_task(reservation.wait())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seed", range(20))
async def test_whatever_calls_come_the_cap_holds_and_what_is_left_could_not_pay_the_cheapest(seed: int) -> None:
    """Calls of all sizes at once, some given up: never more than the cap is reserved and spent, and nobody hangs."""
    rng = random.Random(seed)
    budget = CostBudget(rng.uniform(1, 20))
    assert budget.max_usd
    most_reserved = 0.0

    async def call() -> None:
        nonlocal most_reserved
        most = rng.choice([0.0, 0.01, 0.3, 2.0, 30.0]) * rng.uniform(0.5, 1)
        task = asyncio.ensure_future(
            spend(budget, f"end-{rng.randrange(3)}", most, most * rng.random(), rng.random() / 500)
        )
        if rng.random() < 0.1:
            await asyncio.sleep(rng.random() / 500)
            task.cancel()
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            most_reserved = max(most_reserved, budget.spent + budget._reserved)

    calls = [asyncio.create_task(call()) for _ in range(150)]
    ends = asyncio.gather(*calls), asyncio.create_task(budget.exhausted.wait())
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    done, left = [call for call in calls if call.done()], [call for call in calls if not call.done()]
    assert most_reserved <= budget.max_usd + 1e-9
    assert budget._holding == 0
    assert budget._reserved == 0
    assert bool(left) == budget.exhausted.is_set()
    if left:
        assert budget.cheapest
        assert budget.cheapest.usd > budget.left
        assert not budget._lines, "nobody who could be served waits"
    assert len(done) > 20
    for task in ends:
        task.cancel()
    await asyncio.gather(*ends, return_exceptions=True)
    await settled()


@pytest.mark.usefixtures("quick")
async def test_near_the_cap_fewer_calls_are_in_flight_and_they_go_on_to_the_last_one_that_fits() -> None:
    """Each may cost 1 and costs 0.1: of 5 in flight at first, one is at the end, and more than 4 are spent of 5."""
    budget = CostBudget(5.0)
    budget.pay(0.01236)
    with captured_logs() as events:
        calls = [asyncio.create_task(spend(budget, "a", 1.0, 0.1)) for _ in range(100)]
        await asyncio.wait_for(budget.exhausted.wait(), 5)
    assert 4.0 < budget.spent <= 5.0
    facts = [(event["event"], event["spent_usd"], event["reserved_usd"], event["max_cost_usd"]) for event in events]
    assert facts == [("money.narrows", 0.0124, 4.0, 5.0)], "said once, when the first call waits"
    for call in calls:
        call.cancel()


async def test_small_calls_pass_a_large_one_that_waits_but_do_not_starve_it() -> None:
    """Together they may reserve as much as it needs; then it is its turn, however many more come."""
    budget = CostBudget(10.0)
    running = budget.reservation("strong", 6.0)
    assert running.take()
    large, task = waiting(budget, "strong", 6.0)
    small = [asyncio.create_task(spend(budget, "weak", 1.0, 0.01, 0.0)) for _ in range(20)]
    await asyncio.sleep(0.05)
    passed = sum(one.done() for one in small)
    assert passed == 6
    assert not task.done()
    running.settle(1.0)
    await asyncio.wait_for(task, 1)
    large.settle(1.0)
    await asyncio.gather(*small)


@pytest.mark.usefixtures("quick")
async def test_a_call_that_can_never_be_paid_blocks_nobody_and_stops_the_run_only_when_nothing_else_goes() -> None:
    budget = CostBudget(1.0)
    _never, task = waiting(budget, "strong", 1.5)
    await settled()
    for _ in range(10):
        await spend(budget, "weak", 0.2, 0.05, 0.01)  # longer together than the budget waits while idle
        assert not budget.exhausted.is_set()
    await asyncio.wait_for(budget.exhausted.wait(), 1)
    task.cancel()
    await settled()
    assert not budget.exhausted.is_set(), "a later run on this host may have calls that fit"


@pytest.mark.usefixtures("quick")
async def test_the_stop_names_a_cap_with_which_the_next_call_is_sent() -> None:
    budget = CostBudget(1.0)
    await spend(budget, "weak", 0.5, 0.45678)
    tasks = [waiting(budget, endpoint, usd)[1] for endpoint, usd in (("strong", 2.5), ("judge", 1.5))]
    await asyncio.wait_for(budget.exhausted.wait(), 1)
    hint = budget.stop().hint
    assert "0.4568 US dollars are spent, and the next call (to judge) may cost 1.5000" in hint
    assert "raise engine.max_cost_usd to more than 1.9568" in hint
    for task in tasks:
        task.cancel()
    await settled()
    raised = CostBudget(1.9568)
    raised.pay(0.45678)
    assert raised.reservation("judge", 1.5).take()


async def test_one_that_is_cancelled_in_the_moment_it_is_served_keeps_nothing() -> None:
    budget = CostBudget(1.0)
    running = budget.reservation("a", 1.0)
    assert running.take()
    task = asyncio.create_task(spend(budget, "a", 1.0, 0.5))
    after = asyncio.create_task(spend(budget, "a", 1.0, 0.5))
    await settled()
    running.settle(0.0)
    task.cancel()
    await asyncio.wait_for(after, 1)
    assert budget.spent == 0.5
    assert budget._reserved == 0


async def test_without_a_cap_nothing_waits_and_what_is_spent_is_counted() -> None:
    budget = CostBudget()
    await asyncio.gather(*(spend(budget, "a", 1e9, 0.5) for _ in range(10)))
    assert budget.spent == 5.0


def price(usage: Usage) -> float:
    return usage.prompt_tokens - usage.cached_tokens + 2.0 * usage.cached_tokens + 100.0 * usage.completion_tokens


def test_the_worst_case_is_every_byte_a_token_the_longest_answer_and_the_dearer_kind_of_prompt() -> None:
    worst = WorstCase("a", price, most_tokens=10)
    assert worst.usd(50) == 2.0 * (50 + TEMPLATE_TOKENS) + 1000
    worst.note(50, Usage(1000, 10))  # its provider adds 950 tokens
    assert worst.usd(50) == 2.0 * 1000 + 1000
    worst.note(50, Usage(400, 5))
    assert worst.usd(50) == 2.0 * 1000 + 1000, "the most that it ever added"
    halved = WorstCase("a", lambda usage: usage.prompt_tokens - 0.5 * usage.cached_tokens, most_tokens=10)
    assert halved.usd(50) == 50 + TEMPLATE_TOKENS


def test_a_guess_holds_until_an_answer_has_a_token() -> None:
    worst = WorstCase("a", lambda usage: float(usage.completion_tokens), None, guess=8000)
    worst.note(0, Usage(9, 0))
    assert worst.usd(0) == 8000
    worst.note(0, Usage(9, 1))
    assert worst.usd(0) == 1


@pytest.mark.parametrize(("sent", "before", "after"), [(None, 8000, 700), (100, 100, 700)])
def test_where_no_limit_is_sent_or_kept_to_the_longest_answer_seen_counts_and_it_is_said_once(
    sent: int | None, before: int, after: int
) -> None:
    with captured_logs() as events:
        worst = WorstCase("a", lambda usage: float(usage.completion_tokens), sent, guess=8000)
        assert worst.usd(0) == before
        for tokens in (90, 700, 300, 650):
            worst.note(0, Usage(0, tokens))
            worst.usd(0)
        assert worst.usd(0) == after
    assert [event["event"] for event in events] == ["money.no_bound"]
    assert events[0]["endpoint"] == "a"


async def test_a_call_that_takes_exactly_what_is_left_is_sent() -> None:
    """At once, and after it has waited for the others."""
    budget = CostBudget(1.0)
    first = budget.reservation("a", 0.5)
    assert first.take()
    second = budget.reservation("b", 0.5)
    assert second.take()
    first.settle(0.0)
    last, task = waiting(budget, "a", 1.0)
    await settled()
    assert not task.done()
    second.settle(0.0)
    await asyncio.wait_for(task, 20)
    last.settle(1.0)
    assert (budget.spent, budget.exhausted.is_set()) == (1.0, False)
    assert not budget.reservation("a", 0.001).take()


@pytest.mark.slow
async def test_only_calls_that_can_never_be_sent_are_waited_for_a_second() -> None:
    """The record that got the last answer may go on to a cheaper call."""
    loop, budget = asyncio.get_running_loop(), CostBudget(1.0)
    seen: list[bool] = []
    _, task = waiting(budget, "strong", 1.5)
    await settled()
    for seconds in (0.9, 1.1):
        loop.call_later(seconds, lambda: seen.append(budget.exhausted.is_set()))
    async with asyncio.timeout(20):
        while len(seen) < 2:
            await asyncio.sleep(0.05)
    assert seen == [False, True]
    task.cancel()
