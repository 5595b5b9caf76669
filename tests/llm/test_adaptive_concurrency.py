"""How many requests may be in flight grows while that helps, and is cut by a 429 alone."""

import math

import pytest

from weak2wise.llm.limits.adaptive_concurrency import AdaptiveConcurrency

LONGEST_ROUND = 60.0


def test_a_limit_that_is_not_full_does_not_grow() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=32)
    for at in range(200):
        concurrency.answered(in_flight=20, now=at / 100)
    assert concurrency.size == 32


def test_a_limit_stops_doubling_when_the_server_gets_no_faster() -> None:
    """At 100 answers a second, whatever is in flight."""
    concurrency = AdaptiveConcurrency(0.0, ceiling=100_000, first=32)
    for at in range(5000):
        concurrency.answered(in_flight=int(concurrency.size), now=at / 100)
    assert concurrency.size < 32 * 16


def test_a_cut_limit_comes_back_in_some_round_trips() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=400)
    concurrency.cut(400)
    assert concurrency.size == 300
    for _ in range(8 * 400):
        concurrency.answered(in_flight=int(concurrency.size), now=0.0)
    assert 400 <= concurrency.size < 420


def test_a_limit_of_slow_answers_grows_while_nothing_is_refused() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=100, first=32)
    assert concurrency.overdue(1.0) == LONGEST_ROUND - 1
    assert concurrency.overdue(LONGEST_ROUND) <= 0
    concurrency.grow_without_answers(LONGEST_ROUND)
    assert concurrency.size == 64
    assert concurrency.overdue(LONGEST_ROUND + 1) == LONGEST_ROUND - 1
    concurrency.cut(64)
    assert concurrency.overdue(1e6) == math.inf


def test_a_second_cut_goes_down_from_the_limit_although_more_are_still_in_flight() -> None:
    """Those in flight since before the first cut are not allowed any more."""
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=400)
    concurrency.cut(400)
    concurrency.cut(390)
    assert concurrency.size == 225
    concurrency.cut(100)
    assert concurrency.size == 75, "fewer in flight than allowed: what was refused counts"


def round_trip(concurrency: AdaptiveConcurrency, ends: float, answers: int | None = None) -> None:
    """As many answers as the limit allows at once, or so many, all at this time, while the limit is used up."""
    for _ in range(answers or int(concurrency.size)):
        concurrency.answered(in_flight=int(concurrency.size), now=ends)


def test_it_doubles_each_round_trip_up_to_the_ceiling() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=20, first=4)
    sizes = []
    for trip in range(1, 5):
        round_trip(concurrency, float(trip))
        sizes.append(concurrency.size)
    assert sizes == [8, 16, 20, 20]


@pytest.mark.parametrize(("gain", "doubles"), [(1.09, False), (1.11, True)])
def test_doubling_ends_after_two_round_trips_that_are_less_than_a_tenth_faster_than_the_fastest(
    gain: float, doubles: bool
) -> None:
    """The first one sets the measure; the second is as fast as that, the third by this factor."""
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=4)
    now = 0.0
    for rate in (10.0, 10.0, 10.0 * gain):
        now += int(concurrency.size) / rate
        round_trip(concurrency, now)
    assert concurrency.size == 32
    round_trip(concurrency, now + 1, 1)
    assert concurrency.size == (33 if doubles else 32 + 1 / 32)


def test_one_slow_round_trip_between_fast_ones_ends_nothing() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=4)
    now = 0.0
    for rate in (10.0, 5.0, 20.0, 15.0, 30.0):
        now += int(concurrency.size) / rate
        round_trip(concurrency, now)
    assert concurrency.size == 128


def test_a_round_trip_in_which_the_limit_was_not_used_up_is_measured_anew() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=4)
    round_trip(concurrency, 1.0, 3)
    concurrency.answered(in_flight=3, now=50.0)
    assert concurrency.overdue(50.0) == LONGEST_ROUND
    round_trip(concurrency, 51.0)  # of seven
    assert concurrency.size == 14
    assert concurrency.overdue(51.0) == LONGEST_ROUND


def test_a_limit_that_does_not_double_any_more_grows_by_one_a_round_trip() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=10, first=10)
    concurrency.cut(8)
    assert concurrency.size == 6
    concurrency.answered(in_flight=5, now=0.0)
    assert concurrency.size == 6, "it was not used up"
    concurrency.answered(in_flight=6, now=0.0)
    assert concurrency.size == 6 + 1 / 6
    for _ in range(100):
        concurrency.answered(in_flight=10, now=0.0)
    assert concurrency.size == 10


def test_one_request_may_always_be_in_flight() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=10, first=10)
    concurrency.cut(1)
    assert concurrency.size == 1
    concurrency.cut(0)
    assert concurrency.size == 1


def test_a_large_limit_that_was_cut_grows_by_a_32nd_of_what_was_refused_a_round_trip() -> None:
    concurrency = AdaptiveConcurrency(0.0, ceiling=1000, first=640)
    concurrency.cut(640)
    concurrency.answered(in_flight=480, now=0.0)
    assert concurrency.size == 480 + 20 / 480


def test_a_limit_at_its_ceiling_is_never_overdue_and_does_not_pass_it() -> None:
    full, nearly = AdaptiveConcurrency(0.0, ceiling=32, first=32), AdaptiveConcurrency(0.0, ceiling=48, first=32)
    assert full.overdue(1e6) == math.inf
    nearly.grow_without_answers(60.0)
    assert nearly.size == 48
    assert nearly.overdue(1e6) == math.inf
