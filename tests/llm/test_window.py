"""How many requests may be in flight grows while that helps, and is cut by a 429 alone."""

import math

from weak2wise.llm.limits.adaptive_concurrency import LONGEST_ROUND, AdaptiveConcurrency


def test_a_window_that_is_not_full_does_not_grow() -> None:
    window = AdaptiveConcurrency(0.0, ceiling=1000, first=32)
    for at in range(200):
        window.answered(in_flight=20, now=at / 100)
    assert window.size == 32


def test_a_window_stops_doubling_when_the_server_gets_no_faster() -> None:
    """At 100 answers a second, whatever is in flight."""
    window = AdaptiveConcurrency(0.0, ceiling=100_000, first=32)
    for at in range(5000):
        window.answered(in_flight=int(window.size), now=at / 100)
    assert window.size < 32 * 16


def test_a_cut_window_comes_back_in_some_round_trips() -> None:
    window = AdaptiveConcurrency(0.0, ceiling=1000, first=400)
    window.cut(400)
    assert window.size == 300
    for _ in range(8 * 400):
        window.answered(in_flight=int(window.size), now=0.0)
    assert 400 <= window.size < 420


def test_a_window_of_slow_answers_grows_while_nothing_is_refused() -> None:
    window = AdaptiveConcurrency(0.0, ceiling=100, first=32)
    assert window.overdue(1.0) == LONGEST_ROUND - 1
    assert window.overdue(LONGEST_ROUND) <= 0
    window.grow_unasked(LONGEST_ROUND)
    assert window.size == 64
    window.cut(64)
    assert window.overdue(1e6) == math.inf
