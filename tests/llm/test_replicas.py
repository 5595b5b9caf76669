"""When a replica is down, when it is asked again, and which one gets the next call: by a clock that the test sets."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.llm.clock import Clock
from tests.logs import captured_logs
from weak2wise.llm.errors import Down
from weak2wise.llm.http import replicas
from weak2wise.llm.http.replicas import Replicas, Visit

PATIENCE = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(replicas, "time", made)
    yield made


def fleet(count: int = 1) -> Replicas:
    return Replicas("e", [f"http://{number}" for number in range(count)], PATIENCE)


def taken(of: Replicas) -> Visit:
    visit = of.take()
    assert visit
    return visit


def fails(of: Replicas, times: int = 1) -> bool:
    """So many calls fail, one after another; returns what the last one's end says."""
    for _ in range(times):
        gone = of.give_back(taken(of), replied=False, cause="no answer")
    return gone


def may_send(of: Replicas) -> bool:
    """Whether a call may be sent at this moment."""
    return of.available


def is_probe(of: Replicas) -> bool:
    """Whether the next call would be one that checks a replica which is down; it shows nothing."""
    visit = taken(of)
    of.give_back(visit, replied=None)
    return visit.probe


def went_down(clock: Clock) -> tuple[Replicas, float]:
    """An endpoint of one replica that is down since now, and when its first probe may be sent."""
    of, began = fleet(), clock.now
    assert fails(of, 20)
    while not of.available:
        clock.now += 0.001
    probe_at, clock.now = clock.now, began
    return of, probe_at


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("count", "run"), [(1, 20), (2, 5), (3, 5)])
def test_a_replica_is_down_after_a_run_of_failures_a_shorter_one_if_others_can_take_over(count: int, run: int) -> None:
    of = fleet(count)
    with captured_logs() as events:
        for number in range(count):
            assert not fails(of, run - 1)
            assert (len(events), of.down_for) == (number, None)
            assert fails(of) is (number == count - 1)
    assert of.down_for == 0.0
    assert [(event["event"], event["failures"], event["cause"]) for event in events] == [
        ("endpoint.down", run, "no answer")
    ] * count
    assert len({event["base_url"] for event in events}) == count


@pytest.mark.parametrize(("seconds", "down"), [(9.9, False), (10.0, True)])
def test_five_failures_that_took_long_are_enough(clock: Clock, seconds: float, down: bool) -> None:
    of = fleet()
    fails(of)
    clock.now += seconds
    assert not fails(of, 3)
    assert of.down_for is None
    assert fails(of) is down


def test_a_reply_ends_a_run_of_failures(clock: Clock) -> None:
    of = fleet()
    fails(of, 19)
    clock.now += 20.0
    of.give_back(taken(of), replied=True)
    assert not fails(of, 19)
    assert fails(of)


@pytest.mark.usefixtures("clock")
def test_a_call_that_was_given_up_is_neither_a_failure_nor_a_reply() -> None:
    of = fleet()
    fails(of, 19)
    for _ in range(3):
        assert not of.give_back(taken(of), replied=None)
    assert fails(of)


def test_the_time_for_which_all_are_down_counts_from_the_last_one(clock: Clock) -> None:
    of = fleet(2)
    fails(of, 5)
    clock.now += 0.5
    fails(of, 5)
    clock.now += 0.25
    assert of.down_for == 0.25


def test_a_replica_that_is_down_gets_single_calls_after_longer_and_longer_pauses(clock: Clock) -> None:
    """They count from when the last one was sent, and are not all alike."""
    shares = set()
    for _ in range(30):
        of = fleet()
        fails(of, 20)
        pause = 1.0
        for _ in range(9):
            sent = clock.now
            clock.now = sent + 0.999 * pause
            assert not may_send(of)
            while not may_send(of):
                clock.now += pause / 1000
            shares.add(round((clock.now - sent) / pause, 3))
            probe = taken(of)
            assert probe.probe
            assert not may_send(of)
            clock.now += pause / 2
            assert of.give_back(probe, replied=False)
            clock.now -= pause / 2
            pause = min(2 * pause, 60.0)
    assert 1.0 <= min(shares) < 1.02
    assert 1.23 < max(shares) <= 1.251


def test_any_reply_to_a_probe_brings_a_replica_back_for_good(clock: Clock) -> None:
    of, clock.now = went_down(clock)
    probe = taken(of)
    with captured_logs() as events:
        assert not of.give_back(probe, replied=True)
    assert [event["event"] for event in events] == ["endpoint.up"]
    assert of.down_for is None
    assert not is_probe(of)
    assert not fails(of, 19)
    assert fails(of)
    clock.now += 1.25
    assert is_probe(of), "the next time the pauses begin anew"


def test_a_probe_that_was_given_up_makes_room_for_another_at_once(clock: Clock) -> None:
    of, clock.now = went_down(clock)
    assert not of.give_back(taken(of), replied=None)
    assert is_probe(of)


@pytest.mark.usefixtures("clock")
def test_a_call_from_before_a_replica_went_down_is_no_probe() -> None:
    """Neither where it fails, nor where it is given up; but where it is answered, the replica is back."""
    of = fleet()
    fine, given_up, failed = taken(of), taken(of), taken(of)
    fails(of, 20)
    assert of.give_back(given_up, replied=None)
    with captured_logs() as events:
        assert of.give_back(failed, replied=False)
    assert events == [], "it is down already"
    assert not of.give_back(fine, replied=True)
    assert of.down_for is None


def test_the_replica_with_the_fewest_calls_is_next_and_one_whose_probe_is_due_before_all(clock: Clock) -> None:
    of = fleet(3)
    first, second, third = taken(of), taken(of), taken(of)
    assert len({visit.replica.url for visit in (first, second, third)}) == 3
    of.give_back(second, replied=True)
    again = taken(of)
    assert again.replica is second.replica
    of.give_back(again, replied=True)
    for _ in range(5):
        failing = taken(of)
        assert failing.replica is second.replica
        of.give_back(failing, replied=False)
    assert taken(of).replica is first.replica
    clock.now += 1.25
    probe = taken(of)
    assert (probe.replica is second.replica, probe.probe) == (True, True)
    assert taken(of).replica is third.replica


async def error_of(of: Replicas, *, wait: bool) -> str | None:
    """What a call is told that cannot be sent; ``None`` if it waits, or can be sent."""
    try:
        async with asyncio.timeout(0.05):
            await of.ready(wait=wait)
    except Down as error:
        return str(error)
    except TimeoutError:
        pass
    return None


async def test_who_does_not_wait_hears_how_long_it_is_down_and_why(clock: Clock) -> None:
    of, _ = went_down(clock)
    assert await error_of(of, wait=True) is None
    clock.now += 0.9
    assert await error_of(of, wait=False) == "e: down for 1 s; no answer"
    clock.now += 1.0
    assert await error_of(of, wait=False) is None, "a probe is due"


async def test_calls_wait_until_the_patience_is_over_and_a_probe_has_failed(clock: Clock) -> None:
    of, _ = went_down(clock)
    began = clock.now
    clock.now = began + PATIENCE + 1
    probe = taken(of)
    assert await error_of(of, wait=True) is None, "nothing has been tried yet"
    of.give_back(probe, replied=False)
    assert await error_of(of, wait=True) == "e: down for 101 s; no answer"
    clock.now = began + PATIENCE - 0.1
    assert await error_of(of, wait=True) is None
    clock.now = began + PATIENCE
    assert await error_of(of, wait=True) == "e: down for 100 s; no answer"


async def test_the_wait_does_not_end_while_a_probe_is_under_way_that_was_sent_in_time(clock: Clock) -> None:
    of, _ = went_down(clock)
    began = clock.now
    clock.now = began + 10
    of.give_back(taken(of), replied=False)
    clock.now = began + PATIENCE - 0.1
    in_time = taken(of)
    clock.now = began + PATIENCE + 10
    late = taken(of)
    assert await error_of(of, wait=True) is None
    of.give_back(in_time, replied=False)
    assert await error_of(of, wait=True) == "e: down for 110 s; no answer", "the later one does not count"
    assert not of.give_back(late, replied=True)


async def test_who_waits_goes_on_as_soon_as_a_probe_is_answered_or_given_up(clock: Clock) -> None:
    for replied in (True, None):
        of, clock.now = went_down(clock)
        probe = taken(of)
        waiting = [asyncio.create_task(of.ready(wait=True)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        of.give_back(probe, replied=replied)
        async with asyncio.timeout(1.5):
            await asyncio.gather(*waiting)


def test_calls_of_a_row_go_to_one_replica_while_none_is_much_idler() -> None:
    of = fleet(2)
    urls = []
    for row in (1, 1, 1, 2, 2):  # one after another
        visit = of.take(row)
        assert visit
        urls.append(visit.replica.url)
        of.give_back(visit, replied=True)
    assert urls == ["http://1"] * 3 + ["http://0"] * 2
    visits = [of.take(1) for _ in range(40)]  # at once: both work, the row's own a little more
    counts = [
        sum(visit is not None and visit.replica.url == url for visit in visits) for url in ("http://0", "http://1")
    ]
    assert counts == [19, 21]


def test_a_row_whose_replica_is_down_has_another() -> None:
    of = fleet(3)
    for _ in range(5):
        visit = of.take(1)
        assert visit
        of.give_back(visit, replied=False, cause="no answer")
    taken_by = set()
    for _ in range(4):
        visit = of.take(1)
        assert visit
        taken_by.add(visit.replica.url)
        of.give_back(visit, replied=True)
    assert len(taken_by) == 1
    assert taken_by != {"http://1"}
