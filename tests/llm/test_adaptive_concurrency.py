"""How many requests may be in flight grows while that helps, and is cut by a 429 alone."""

import math

from weak2wise.llm.limits.adaptive_concurrency import LONGEST_ROUND, AdaptiveConcurrency


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
