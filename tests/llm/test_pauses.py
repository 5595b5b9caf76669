"""How long a 429 or a reported quota holds requests back, and what of it is learned: by a clock that the test sets."""

import asyncio

import pytest

from tests.llm.clock import Clock
from tests.llm.test_limits import leave, taken
from tests.logs import captured_logs
from weak2wise.config.endpoint_settings import LimitSettings
from weak2wise.llm.limits import limits as module
from weak2wise.llm.limits.limits import Limits, Slot


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def over(slot: Slot, tokens: int = 10) -> None:
    """It was answered."""
    slot.answered(tokens)
    slot.release()


async def at_once(limits: Limits) -> int:
    """How many requests may be sent now, one after another, of ten."""
    waiting = [asyncio.create_task(leave(limits)) for _ in range(10)]
    for _ in range(5):
        await asyncio.sleep(0)
    allowed = [task.result() for task in waiting if task.done()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for slot in allowed:
        slot.release()
    return len(allowed)


async def test_a_bare_429_is_waited_out_for_a_second_then_two_and_a_minute_at_most(clock: Clock) -> None:
    """And up to a quarter more, drawn by chance."""
    most: list[float] = [0.0] * 9
    least: list[float] = [1e9] * 9
    for _ in range(60):
        limits = Limits(in_flight=100)
        for number in range(9):
            (slot,) = await taken_after_pause(limits, clock)
            slot.refused(None)
            slot.release()
            most[number] = max(most[number], limits.pause_left)
            least[number] = min(least[number], limits.pause_left)
    for number, seconds in enumerate((1, 2, 4, 8, 16, 32, 60, 60, 60)):
        assert seconds <= least[number] < 1.1 * seconds
        assert 1.15 * seconds < most[number] <= 1.25 * seconds


async def taken_after_pause(limits: Limits, clock: Clock) -> list[Slot]:
    """A request that is sent once the pause is over."""
    clock.now += limits.pause_left
    return await taken(limits, 1)


async def test_an_answer_makes_the_next_guess_short_again(clock: Clock) -> None:
    limits = Limits(in_flight=100)
    for _ in range(4):
        (slot,) = await taken_after_pause(limits, clock)
        slot.refused(None)
        slot.release()
    clock.now += limits.pause_left
    over(await leave(limits))
    (slot,) = await taken(limits, 1)
    slot.refused(None)
    assert 1.0 <= limits.pause_left <= 1.25


@pytest.mark.parametrize(("answered", "least"), [(0, 1.0), (1, 0.0)])
async def test_a_wait_of_nothing_is_believed_only_if_something_got_through(
    clock: Clock, answered: int, least: float
) -> None:
    limits = Limits(in_flight=100)
    slots = await taken(limits, answered + 1)
    for slot in slots[:-1]:
        over(slot)
    slots[-1].refused(0.0)
    assert least <= limits.pause_left <= 1.25 * least
    clock.now += 0.5
    slots[-1].release()


async def test_a_longer_wait_than_the_guess_is_kept_where_nothing_got_through(clock: Clock) -> None:
    limits = Limits(in_flight=100)
    (slot,) = await taken(limits, 1)
    slot.refused(30.0)
    assert limits.pause_left == 30.0
    clock.now += 29.5
    assert limits.pause_left == 0.5
    clock.now += 1.0
    assert limits.pause_left == 0


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("asked", "pause"), [(3599.0, 3599.0), (3601.0, 3600.0), (1e9, 3600.0)])
async def test_no_pause_is_longer_than_an_hour(asked: float, pause: float) -> None:
    limits = Limits(in_flight=100)
    (slot,) = await taken(limits, 1)
    slot.refused(asked)
    assert limits.pause_left == pause


@pytest.mark.usefixtures("clock")
async def test_a_pause_of_more_than_ten_seconds_is_logged_and_again_if_it_becomes_that_much_longer() -> None:
    limits = Limits("group", in_flight=100)
    slots = await taken(limits, 7)
    with captured_logs() as events:
        for slot, seconds in zip(slots, (10.0, 10.1, 20.0, 30.25, 40.0, 40.25, 50.5), strict=True):
            slot.refused(seconds)
    assert [(event["event"], event["endpoint"], event["seconds"]) for event in events] == [
        ("endpoint.pauses", "group", 30.2),
        ("endpoint.pauses", "group", 50.5),
    ]


@pytest.mark.parametrize(
    ("requests", "tokens", "more"),
    [
        ((3, 60.0), None, 3),
        ((0, 60.0), None, 0),
        (None, (100, 60.0), 5),  # of twenty tokens each
        (None, (119, 60.0), 5),
        (None, (19, 60.0), 0),
        ((3, 60.0), (100, 60.0), 3),
        ((7, 60.0), (100, 60.0), 5),
        ((5, 1.0), (100, 60.0), 5),
        ((3, 0.0), None, 10),
        (None, None, 10),
    ],
)
async def test_the_tighter_of_two_reported_quotas_holds_until_it_resets(
    clock: Clock, requests: tuple[float, float] | None, tokens: tuple[float, float] | None, more: int
) -> None:
    limits = Limits(in_flight=100)
    first, last = await taken(limits, 2)
    over(first, 10)
    over(last, 110)  # a tenth of the mean, so that is 20 now
    last.note_quota(requests, tokens)
    assert await at_once(limits) == more
    if more < 10:
        assert 59.9 < limits.pause_left <= 60.0
        clock.now += 60.0
        assert await at_once(limits) == 10


async def test_tokens_that_remain_say_nothing_before_an_answer_has_any(clock: Clock) -> None:
    limits = Limits(in_flight=100)
    (slot,) = await taken(limits, 1)
    slot.note_quota(None, (1, 60.0))
    assert await at_once(limits) == 10
    clock.now += 1


async def test_a_quota_counts_from_when_its_request_was_sent(clock: Clock) -> None:
    limits = Limits(in_flight=100)
    (slot,) = await taken(limits, 1)
    clock.now += 10.0
    slot.note_quota((0, 60.0), None)
    assert await at_once(limits) == 0
    assert limits.pause_left == 50.0


@pytest.mark.usefixtures("clock")
async def test_the_report_of_a_later_request_counts_and_not_the_one_that_arrives_last() -> None:
    limits = Limits(in_flight=100)
    early, late = await taken(limits, 2)
    late.note_quota((4, 60.0), None)
    early.note_quota((0, 60.0), None)
    assert await at_once(limits) == 4


@pytest.mark.parametrize(
    ("configured", "in_flight", "size"), [(None, 8, 6), (None, 4, 3), (60_000.0, 7, 8), (60_000.0, 8, 6)]
)
async def test_a_429_cuts_the_concurrency_where_it_was_used_up_or_no_rate_is_known(
    clock: Clock, configured: float | None, in_flight: int, size: float
) -> None:
    limits = Limits(in_flight=8, requests_per_minute=configured)
    for _ in range(in_flight):
        clock.now += 1.0
        slot = await leave(limits)
    slot.refused(1.0)
    assert limits.concurrency.size == size


@pytest.mark.parametrize(
    ("settings", "name", "size", "rate"),
    [
        (LimitSettings(), "e", 32, None),
        (LimitSettings(max_concurrent_requests=5), "e", 5, None),
        (LimitSettings(max_requests_per_minute=120, limit_group="key"), "key", 32, 1.96),
    ],
)
def test_limits_are_those_of_the_settings(settings: LimitSettings, name: str, size: float, rate: float | None) -> None:
    limits = Limits.of("e", settings)
    assert (limits._name, limits.concurrency.size, limits.rate.rate) == (name, size, rate)


@pytest.mark.parametrize(("most", "first", "grown"), [(1024, 32, 1024), (20, 20, 20)])
def test_without_a_configured_limit_as_many_requests_may_be_in_flight_as_files_allow(
    most: int, first: int, grown: int
) -> None:
    limits = Limits(most_in_flight=most) if most < 1024 else Limits()
    assert limits.concurrency.size == first
    for _ in range(20):
        limits.concurrency.grow_without_answers(0.0)
    assert limits.concurrency.size == grown
