"""What may be asked at once and per minute: configured limits hold together, 429s and nothing else teach the rest."""

import asyncio
import math
import random
from collections import deque
from email.utils import formatdate

import pytest

from weak2wise.llm import limits as learned_limits
from weak2wise.llm import pace as learned
from weak2wise.llm.advice import remaining, retry_after
from weak2wise.llm.limits import FIRST_WINDOW, Limits, Slot, TokenBudget, Window
from weak2wise.llm.pace import Epoch, Pace


async def taken(limits: Limits, count: int) -> list[Slot]:
    return [await leave(limits) for _ in range(count)]


async def leave(limits: Limits) -> Slot:
    """Wait for leave to send a request."""
    slot = await limits.acquire()
    assert slot
    return slot


def answer(slots: list[Slot]) -> None:
    for slot in slots:
        slot.answered(10)
        slot.release()


async def is_held_back(limits: Limits) -> bool:
    """Whether the next request would have to wait."""
    try:
        slot = await asyncio.wait_for(leave(limits), 0.01)
    except TimeoutError:
        return True
    slot.release()
    return False


async def test_no_more_requests_are_in_flight_than_allowed() -> None:
    limits = Limits(in_flight=4)
    most = 0

    async def call() -> None:
        nonlocal most
        slot = await leave(limits)
        most = max(most, limits.in_flight)
        await asyncio.sleep(0.001)
        slot.release()

    await asyncio.gather(*(call() for _ in range(40)))
    assert most == 4
    assert limits.in_flight == 0


async def test_who_gives_up_waiting_takes_no_place() -> None:
    limits = Limits(in_flight=1)
    (slot,) = await taken(limits, 1)
    waiting = [asyncio.create_task(leave(limits)) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    slot.release()  # lets the second through
    waiting[1].cancel()  # in the same moment
    (await waiting[2]).release()
    (await waiting[3]).release()
    assert limits.in_flight == 0
    assert [task.cancelled() for task in waiting] == [True, True, False, False]


async def test_a_request_rate_holds() -> None:
    """At 600 a minute, 16 requests cannot be sent within the window that 10 fit into."""
    loop = asyncio.get_running_loop()
    limits = Limits(in_flight=100, requests_per_minute=600)
    sent: list[float] = []

    async def call() -> None:
        slot = await leave(limits)
        sent.append(loop.time())
        slot.release()

    await asyncio.gather(*(call() for _ in range(16)))
    sent.sort()
    assert all(later - earlier >= 0.99 for earlier, later in zip(sent, sent[10:], strict=False))


def test_a_token_budget_makes_later_requests_wait_for_what_earlier_ones_used() -> None:
    budget = TokenBudget(per_minute=6000)  # a hundred a second, six hundred at once
    now = budget._filled_at
    for _ in range(29):
        assert budget.wait(now, 20) <= 0
        budget.settle(budget.charge(5), used=20)
    budget.settle(budget.charge(5), used=20)
    assert budget.wait(now, 20) == pytest.approx(0.2)
    assert budget.wait(now + 0.15, 20) == pytest.approx(0.05)
    assert budget.wait(now + 0.21, 20) <= 0


async def test_a_token_budget_holds_from_the_first_request_on_and_for_requests_larger_than_it() -> None:
    """Nothing is known of the answers yet, so each may take all it is allowed to."""
    limits = Limits(tokens_per_minute=60_000, in_flight=100)
    waiting = [asyncio.create_task(limits.acquire(2500)) for _ in range(10)]
    await asyncio.sleep(0.01)
    assert limits.in_flight == 2  # of 6,000 at once
    for task in waiting:
        task.cancel()
    large = Limits(tokens_per_minute=60_000, in_flight=100)
    waiting = [asyncio.create_task(large.acquire(50_000)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert large.in_flight == 1
    for task in waiting:
        task.cancel()


async def test_a_cooldown_holds_everybody_back_for_as_long_as_the_server_said() -> None:
    loop = asyncio.get_running_loop()
    limits = Limits(in_flight=100)
    (first, refused) = await taken(limits, 2)
    answer([first])
    refused.refused(0.2)
    refused.release()
    began = loop.time()

    async def call() -> float:
        slot = await leave(limits)
        slot.release()
        return loop.time() - began

    assert min(await asyncio.gather(*(call() for _ in range(3)))) >= 0.19


async def test_a_cooldown_also_holds_back_who_waits_for_a_configured_rate() -> None:
    limits = Limits(requests_per_minute=600)
    (first, refused) = await taken(limits, 2)
    answer([first])
    refused.refused(60)
    refused.release()
    assert await is_held_back(limits)


async def test_of_a_burst_of_429s_one_cuts() -> None:
    limits = Limits(in_flight=100)
    slots = await taken(limits, 100)
    assert [slot.refused(1) for slot in slots] == [True] + [False] * 99
    assert int(limits.window.size) == 75


async def test_bare_429s_are_waited_out_longer_each_time_until_something_gets_through() -> None:
    limits = Limits(in_flight=10)
    slots = await taken(limits, 3)
    for slot in slots:
        slot.refused(None)
    assert limits._pause == 2 * Limits.FIRST_PAUSE
    slots[0].answered(1)
    assert limits._pause == Limits.FIRST_PAUSE


async def test_what_is_no_429_changes_no_limit() -> None:
    limits = Limits(in_flight=10)
    for slot in await taken(limits, 10):
        slot.release()  # a 500, a reset, a time-out: given back without a word
    assert limits.window.size == 10
    assert limits.pace.rate is None
    assert not await is_held_back(limits)


async def test_without_a_configured_limit_the_window_doubles_each_round_trip_while_that_helps() -> None:
    limits = Limits()
    waiting = [asyncio.create_task(leave(limits)) for _ in range(20 * FIRST_WINDOW)]
    for trip in range(4):
        await asyncio.sleep(0.01)
        arrived = [task.result() for task in waiting if task.done()]
        assert len(arrived) == FIRST_WINDOW * 2**trip
        waiting = [task for task in waiting if not task.done()]
        answer(arrived)
    for task in waiting:
        task.cancel()


def test_a_window_that_is_not_full_does_not_grow() -> None:
    window = Window(ceiling=1000, first=32)
    for at in range(200):
        window.answered(in_flight=20, now=at / 100)
    assert window.size == 32


def test_a_window_stops_doubling_when_the_server_gets_no_faster() -> None:
    """At 100 answers a second, whatever is in flight."""
    window = Window(ceiling=100_000, first=32)
    for at in range(5000):
        window.answered(in_flight=int(window.size), now=at / 100)
    assert window.size < 32 * 16


def test_a_cut_window_comes_back_in_some_round_trips() -> None:
    window = Window(ceiling=1000, first=400)
    window.cut(400)
    assert window.size == 300
    for _ in range(8 * 400):
        window.answered(in_flight=int(window.size), now=0.0)
    assert 400 <= window.size < 420


def simulated(pace: Pace, allowed: float, start: float) -> tuple[int, int]:
    """A thousand seconds of a server with a token bucket ten seconds deep; returns requests answered and refused."""
    answered, refused, left = 0, 0, 10 * allowed
    for tick in range(50_000):
        now = start + tick / 50
        left = min(10 * allowed, left + allowed / 50)
        while now >= pace.resumes_at and pace.wait(now) <= 0:
            epoch = pace.send(now)
            if left < 1:
                refused += 1
                pace.refused(epoch)
                pace.end_epoch(now, now + 1.0)
            else:
                left -= 1
                answered += 1
    return answered, refused


@pytest.mark.parametrize("rate", [5, 200])
def test_a_rate_is_learned_kept_and_left_when_it_rises_or_falls(rate: float) -> None:
    """In the long run over 95% of what is allowed and less than 1% refused, also after the limit has changed."""
    pace = Pace(0.0)
    for number, allowed in enumerate((rate, rate * 2, rate / 2)):
        simulated(pace, allowed, number * 2000)
        answered, refused = simulated(pace, allowed, number * 2000 + 1000)
        assert answered > 0.95 * 1000 * allowed
        assert refused < 0.01 * answered


def counted_by_the_window(pace: Pace, rate: float, window: float, seconds: float) -> tuple[int, int]:
    """A server that admits ``rate * window`` requests in any window, and whose Retry-After is in whole seconds.

    Requests arrive some milliseconds after they were sent, no two as late. Returns requests answered and refused in the
    second half of the time.
    """
    rng = random.Random(0)
    quota, admitted = round(rate * window), deque[float]()
    answered, refused, now, pause = 0, 0, 0.0, 0.0
    while now < seconds:
        now = max(now + 0.0005, pause, now + pace.wait(now)) + rng.expovariate(1000)
        epoch = pace.send(now)
        arrives = now + rng.expovariate(500)
        while admitted and admitted[0] <= arrives - window:
            admitted.popleft()
        late = now > seconds / 2
        if len(admitted) < quota:
            admitted.append(arrives)
            answered += late
            continue
        refused += late
        pace.refused(epoch)
        pause = now + math.ceil(admitted[0] + window - arrives)
        pace.end_epoch(now, pause)
    return answered, refused


@pytest.mark.parametrize("rate", [20, 100])
@pytest.mark.parametrize("window", [1, 10, 60])
def test_a_rate_is_learned_whatever_window_the_server_counts_in(rate: float, window: float) -> None:
    """Over 95% of what is allowed and less than 1% refused, though each pause is longer than it need be."""
    answered, refused = counted_by_the_window(Pace(0.0), rate, window, 600)
    assert answered > 0.95 * 300 * rate
    assert refused < 0.01 * answered


def test_a_configured_rate_is_kept_and_never_passed_where_the_server_counts_by_the_second() -> None:
    answered, refused = counted_by_the_window(Pace(0.0, configured=100), 100, 1, 600)
    assert answered > 0.95 * 300 * 100
    assert refused < 0.001 * answered


def test_one_early_refusal_teaches_nothing_and_two_do() -> None:
    pace = Pace(0.0)
    for number in range(1000):
        pace.send(number / 100)
    pace.end_epoch(10.0, 11.0)
    now = 11.0
    for expected in (
        pytest.approx(1000 / 11, rel=0.05),
        pytest.approx(1000 / 11, rel=0.05),
        pytest.approx(30, rel=0.5),
    ):
        for number in range(30):
            epoch = pace.send(now + number / 100)
            assert pace.rate == expected
        pace.refused(epoch)
        pace.end_epoch(now + 0.3, now + 1.0)
        now += 1.0


async def test_who_has_nowhere_to_go_any_more_leaves_the_line_and_uses_nothing_up() -> None:
    """Others of the same key get what it would have taken."""
    limits = Limits(in_flight=10, requests_per_minute=60)
    (first,) = await taken(limits, 1)
    alive = True
    dead = [asyncio.create_task(limits.acquire(wanted=lambda: alive)) for _ in range(50)]
    living = asyncio.create_task(leave(limits))
    await asyncio.sleep(0)
    alive = False
    limits.sweep()
    assert await asyncio.gather(*dead) == [None] * 50
    first.release()
    async with asyncio.timeout(2):
        (await living).release()
    assert limits.in_flight == 0


async def test_a_window_of_slow_answers_grows_while_nothing_is_refused() -> None:
    window = Window(ceiling=100, first=32)
    began = window._round_began
    assert 0 < window.overdue(began) <= learned_limits.LONGEST_ROUND
    assert window.overdue(began + learned_limits.LONGEST_ROUND) <= 0
    window.grow_unasked(began + learned_limits.LONGEST_ROUND)
    assert window.size == 64
    window.cut(64)
    assert window.overdue(began + 1e6) == math.inf


async def test_a_day_s_quota_by_the_headers_is_asked_about_again_after_an_hour() -> None:
    limits = Limits(in_flight=10)
    (slot,) = await taken(limits, 1)
    slot.told((0, 86_400.0), None)
    assert await is_held_back(limits)
    assert 0 < limits.pause_left <= Limits.LONGEST_PAUSE


@pytest.mark.parametrize("chance", [0.001, 0.002, 0.005])
def test_refusals_by_chance_cost_little_more_than_the_pauses_they_ask_for(chance: float) -> None:
    """Over 75% of what could be sent between the pauses is, on an average."""
    assert sum(refused_by_chance(chance, seed) for seed in range(5)) / 5 > 0.75


def refused_by_chance(chance: float, seed: int) -> float:
    """The share sent of 400 requests a second; a refusal arrives 0.3 s after its request and asks for a second."""
    pace, rng, now, refusals, paused = Pace(0.0), random.Random(seed), 0.0, deque[tuple[float, Epoch, int]](), 0.0
    sent = 0
    while now < 300:
        at = max(now + rng.expovariate(400), pace.resumes_at, now + pace.wait(now))
        if refusals and refusals[0][0] <= at:
            now, epoch, number = refusals.popleft()
            pace.refused(epoch)
            if epoch is pace.epoch:
                paused += 1.0
                pace.end_epoch(now, now + 1.0, followers=sent - number)
            else:
                pace.prolong(now + 1.0)
            continue
        now, epoch, sent = at, pace.send(at), sent + 1
        if rng.random() < chance:
            refusals.append((now + 0.3, epoch, sent))
    return sent / 400 / (now - paused)


def test_refusals_that_do_not_follow_the_rate_do_not_bring_it_down_for_ever() -> None:
    """Every tenth request is refused however slowly one asks."""
    pace, now, rates = Pace(0.0), 0.0, []
    for number in range(1, 2000):
        now = max(now + 0.01, pace.resumes_at, pace._next_at)
        epoch = pace.send(now)
        rates.append(pace.rate)
        if number % 10 == 0:
            pace.refused(epoch)
            pace.end_epoch(now, now + 1)
    assert min(rate for rate in rates if rate) > 0.5
    assert rates[-1] is None or rates[-1] > 10, rates[-1]


def test_a_day_s_quota_is_waited_out_and_not_taken_for_a_rate() -> None:
    pace = Pace(0.0)
    for number in range(50):
        pace.send(number / 10)
    pace.refused(pace.send(5))
    pace.end_epoch(5, until=5 + learned.LONGEST_WINDOW + 1)
    assert pace.rate is None


async def test_used_up_by_the_headers_means_waiting_without_a_429() -> None:
    limits = Limits(in_flight=100)
    one, two, three = await taken(limits, 3)
    two.told((2, 60.0), None)  # the third was sent since, so one is left
    one.told((50, 60.0), None)  # older news
    four = await leave(limits)
    assert await is_held_back(limits)
    answer([one, two, three, four])


async def test_tokens_used_up_by_the_headers_count_too_and_old_news_does_not() -> None:
    limits = Limits(in_flight=100)
    slots = await taken(limits, 5)
    answer(slots)
    slots[-1].told((1000, 60.0), (25, 60.0))  # ten tokens each: two more
    more = await taken(limits, 2)
    assert await is_held_back(limits)
    answer(more)
    over = Limits(in_flight=100)
    (slot,) = await taken(over, 1)
    await asyncio.sleep(0.02)
    slot.told((0, 0.01), None)  # that was over before we heard of it
    assert not await is_held_back(over)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
        ({"Retry-After": formatdate(1_000_090, usegmt=True), "Date": formatdate(1_000_000, usegmt=True)}, 90),
        ({"Retry-After": formatdate(1_000_000, usegmt=True), "Date": formatdate(1_000_090, usegmt=True)}, 0),
        ({"Retry-After": "Mon, 12 Jan 1970 13:48:10", "Date": formatdate(1_000_000, usegmt=True)}, 90),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("left", "reset", "expected"),
    [
        ("5", "1s", (5, 1)),
        ("5", "6m0s", (5, 360)),
        ("5", "1h2m3.5s", (5, 3723.5)),
        ("5", "120ms", (5, 0.12)),
        ("5", "12.5", (5, 12.5)),
        ("-1", "1s", None),
        ("many", "1s", None),
        ("5", "", None),
        ("5", "2026-01-01T00:00:00Z", None),
        ("5", "1767225600000", None),
        ("5", "-1", None),
    ],
)
def test_what_remains_is_read_in_the_forms_providers_write(
    left: str, reset: str, expected: tuple[float, float] | None
) -> None:
    headers = {"x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": reset}
    assert remaining(headers, "requests") == expected
    assert remaining(headers, "tokens") is None
