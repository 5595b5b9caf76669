"""What may be asked at once and per minute: configured limits hold together, 429s and nothing else teach the rest."""

import asyncio
import time

import pytest

from tests.logs import captured_logs
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limits import FIRST_CONCURRENCY, Limits, Slot


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


@pytest.mark.slow
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


async def test_a_token_budget_holds_from_the_first_request_on_and_for_requests_larger_than_it() -> None:
    """Nothing is known of the answers yet, so each may take all it is allowed to."""
    limits = Limits(tokens_per_minute=60_000, in_flight=100)
    waiting = [asyncio.create_task(limits.acquire(CallSizes(2500))) for _ in range(10)]
    await asyncio.sleep(0.01)
    assert limits.in_flight == 2  # of 6,000 at once
    for task in waiting:
        task.cancel()
    large = Limits(tokens_per_minute=60_000, in_flight=100)
    waiting = [asyncio.create_task(large.acquire(CallSizes(50_000))) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert large.in_flight == 1
    for task in waiting:
        task.cancel()


async def test_a_cooldown_holds_everybody_back_for_as_long_as_the_server_said() -> None:
    loop = asyncio.get_running_loop()
    limits = Limits(in_flight=100)
    (first, refused) = await taken(limits, 2)
    answer([first])
    began = loop.time()
    refused.refused(0.2)
    refused.release()

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


async def test_a_long_pause_is_logged_once_and_a_short_one_never() -> None:
    with captured_logs() as events:
        (refused,) = await taken(Limits(in_flight=100), 1)
        refused.refused(3)
        slots = await taken(Limits(in_flight=100), 3)
        for slot, seconds in zip(slots, (60, 65, 90), strict=True):
            slot.refused(seconds)
    assert [(event["event"], event["seconds"]) for event in events] == [
        ("endpoint.pauses", 60),
        ("endpoint.pauses", 90),  # much longer than was said
    ]


async def test_of_a_burst_of_429s_one_cuts() -> None:
    limits = Limits(in_flight=100)
    slots = await taken(limits, 100)
    assert [slot.refused(1) for slot in slots] == [True] + [False] * 99
    assert int(limits.concurrency.size) == 75


@pytest.mark.slow
async def test_bare_429s_are_waited_out_longer_each_time_until_something_gets_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Limits, "FIRST_PAUSE", 0.2)
    limits = Limits(in_flight=10)
    pauses = []
    for answered in (0, 0, 1):
        answer(await taken(limits, answered))
        (refused,) = await taken(limits, 1)
        refused.refused(None)
        refused.release()
        pauses.append(limits.pause_left)
    assert 0.15 < pauses[0] <= 0.25 < pauses[1] <= 0.5
    assert 0.15 < pauses[2] <= 0.25


async def test_what_is_no_429_changes_no_limit() -> None:
    limits = Limits(in_flight=10)
    for slot in await taken(limits, 10):
        slot.release()  # a 500, a reset, a time-out: given back without a word
    assert limits.concurrency.size == 10
    assert limits.rate.rate is None
    assert not await is_held_back(limits)


async def test_without_a_configured_limit_the_concurrency_doubles_each_round_trip_while_that_helps() -> None:
    limits = Limits()
    waiting = [asyncio.create_task(leave(limits)) for _ in range(20 * FIRST_CONCURRENCY)]
    for trip in range(4):
        await asyncio.sleep(0.01)
        arrived = [task.result() for task in waiting if task.done()]
        assert len(arrived) == FIRST_CONCURRENCY * 2**trip
        waiting = [task for task in waiting if not task.done()]
        answer(arrived)
    for task in waiting:
        task.cancel()


@pytest.mark.slow
async def test_who_has_nowhere_to_go_any_more_leaves_the_line_and_uses_nothing_up() -> None:
    """Others of the same key get what it would have taken."""
    limits = Limits(in_flight=10, requests_per_minute=60)
    (first,) = await taken(limits, 1)
    alive = True
    dead = [asyncio.create_task(limits.acquire(wanted=lambda: alive)) for _ in range(50)]
    living = asyncio.create_task(leave(limits))
    await asyncio.sleep(0)
    alive = False
    limits.release_unwanted()
    assert await asyncio.gather(*dead) == [None] * 50
    first.release()
    async with asyncio.timeout(2):
        (await living).release()
    assert limits.in_flight == 0


async def test_a_day_s_quota_by_the_headers_is_asked_about_again_after_an_hour() -> None:
    limits = Limits(in_flight=10)
    (slot,) = await taken(limits, 1)
    slot.note_quota((0, 86_400.0), None)
    assert await is_held_back(limits)
    assert 0 < limits.pause_left <= Limits.LONGEST_PAUSE


async def test_used_up_by_the_headers_means_waiting_without_a_429() -> None:
    limits = Limits(in_flight=100)
    one, two, three = await taken(limits, 3)
    two.note_quota((2, 60.0), None)  # the third was sent since, so one is left
    one.note_quota((50, 60.0), None)  # older news
    four = await leave(limits)
    assert await is_held_back(limits)
    answer([one, two, three, four])


async def test_tokens_used_up_by_the_headers_count_too_and_old_news_does_not() -> None:
    limits = Limits(in_flight=100)
    slots = await taken(limits, 5)
    answer(slots)
    slots[-1].note_quota((1000, 60.0), (25, 60.0))  # ten tokens each: two more
    more = await taken(limits, 2)
    assert await is_held_back(limits)
    answer(more)
    over = Limits(in_flight=100)
    (slot,) = await taken(over, 1)
    await asyncio.sleep(0.02)
    slot.note_quota((0, 0.01), None)  # that was over before we heard of it
    assert not await is_held_back(over)


async def test_a_later_429_of_a_burst_prolongs_the_pause_and_never_shortens_it() -> None:
    """Each provider of a group, or each window that it counts in, may say another time."""
    limits = Limits(in_flight=100)
    slots = await taken(limits, 4)
    answer(slots[:1])
    now = time.monotonic()
    assert [slot.refused(wait) for slot, wait in zip(slots[1:], (2.0, 30.0, 5.0), strict=True)] == [True, False, False]
    assert 29.0 < limits.pause_left <= 30.0
    assert limits.rate.resumes_at >= now + 29.0, "the rate is not measured over the pause"


async def test_who_goes_elsewhere_because_a_pause_became_long_leaves_the_line_at_once() -> None:
    limits = Limits(in_flight=100)
    first, second = await taken(limits, 2)
    first.refused(1.0)
    waiting = asyncio.create_task(limits.acquire(wanted=lambda: limits.pause_left < 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    second.refused(600.0)
    async with asyncio.timeout(20):
        assert await waiting is None
    assert limits.in_flight == 2


async def test_a_request_that_nobody_wants_when_its_turn_comes_is_not_sent() -> None:
    limits = Limits(in_flight=1)
    (first,) = await taken(limits, 1)
    unwanted = asyncio.create_task(limits.acquire(wanted=lambda: False))
    wanted = asyncio.create_task(leave(limits))
    await asyncio.sleep(0)
    first.release()
    assert await unwanted is None
    (await wanted).release()
    assert limits.in_flight == 0


class Closed:
    """A throttle that lets nobody through."""

    def __init__(self, **_: object) -> None:
        pass

    async def acquire(self) -> None:
        await asyncio.get_running_loop().create_future()


async def test_who_gives_up_waiting_for_the_configured_rate_gives_the_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one in the throttle, and those that wait for their turn there."""
    monkeypatch.setattr("weak2wise.llm.limits.limits.Throttler", Closed)
    limits = Limits(in_flight=3, requests_per_minute=60_000)
    waiting = [asyncio.create_task(leave(limits)) for _ in range(3)]
    async with asyncio.timeout(20):
        while limits.in_flight < 3:
            await asyncio.sleep(0.001)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    assert limits.in_flight == 0
