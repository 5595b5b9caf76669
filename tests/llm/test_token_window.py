"""A limit of tokens per minute, one wait at a time, and exactly: the bucket, the minute, and what is kept free."""

import random

import pytest

from weak2wise.llm.limits.call_sizes import CallSizes, Expected
from weak2wise.llm.limits.token_limit import Charge, TokenLimit

PER_MINUTE = 6000
"""A hundred a second; the bucket holds six seconds of it."""


def sent(limit: TokenLimit, at: float, *tokens: float) -> list[Charge]:
    """Calls of which so many tokens are expected and nothing less is known."""
    return [limit.charge(at, CallSizes(most), 0) for most in tokens]


def known(tokens: float) -> Expected:
    """A call that is expected to use exactly so many tokens."""
    return Expected(tokens, 0, tokens)


def test_six_seconds_of_the_rate_may_be_sent_at_once_and_the_rest_is_spread() -> None:
    limit = TokenLimit(0.0, PER_MINUTE)
    assert limit.wait(0.0, known(600)) == 0
    sent(limit, 0.0, 300, 300)
    assert limit.wait(0.0, known(300)) == 3.0
    assert limit.wait(1.0, known(300)) == 2.0
    assert limit.wait(3.0, known(300)) == 0.0
    assert limit.wait(100.0, known(601)) == 0.0, "the bucket never holds more"
    sent(limit, 100.0, 600)
    assert limit.wait(100.0, known(100)) == 1.0


def test_a_call_larger_than_the_bucket_needs_a_full_one_and_is_waited_for_afterwards() -> None:
    limit = TokenLimit(0.0, PER_MINUTE)
    sent(limit, 0.0, 100)
    assert limit.wait(0.0, known(5000)) == 1.0
    sent(limit, 1.0, 5000)
    assert limit.wait(1.0, known(100)) == (5000 - 600 + 100) / 100


def test_a_call_waits_until_enough_of_the_last_minute_has_left_it() -> None:
    """What is sent within a quarter of a second leaves together, a minute after the end of that."""
    limit = TokenLimit(0.0, PER_MINUTE)
    for at in (0.0, 0.2, 0.25):
        sent(limit, at, 2000)
    assert limit.wait(59.0, known(600)) == 1.25
    assert limit.wait(59.0, known(4000)) == 1.25
    assert limit.wait(59.0, known(4001)) == 1.5
    assert limit.wait(60.25, known(4000)) <= 0
    sent(limit, 60.25, 4000)
    assert limit.wait(90.0, known(600)) == 10.25, "the bucket"
    assert limit.wait(102.0, known(2000)) <= 0


def test_what_fits_exactly_may_be_sent() -> None:
    limit = TokenLimit(0.0, PER_MINUTE)
    sent(limit, 0.0, 3000)
    assert limit.wait(40.0, known(3000)) <= 0
    assert limit.wait(40.0, Expected(3000, 0, 9000)) <= 0, "of a kind whose calls were all alike"
    assert limit.wait(40.0, known(3001)) == 20.25


def test_three_deviations_of_what_is_uncertain_are_kept_free_but_never_more_than_it_can_exceed() -> None:
    limit = TokenLimit(0.0, PER_MINUTE)
    sent(limit, 0.0, 3000)
    for most, fits in ((1e5, 2700), (2900, 2800)):
        assert limit.wait(40.0, Expected(fits, 100**2, most + fits - 2700)) <= 0
        assert limit.wait(40.0, Expected(fits + 1, 100**2, most + fits - 2700 + 1)) == 20.25


def uncertain() -> CallSizes:
    """Two answers of 100 and 300 tokens, so the next is expected to have 300, of 500, with a deviation of 100."""
    sizes = CallSizes(500)
    for group, used in [(sizes.sent(), used) for used in (100, 300)]:
        sizes.ended(group, used)
    assert sizes.expect(0) == Expected(300, 100**2, 500)
    return sizes


@pytest.mark.parametrize(("calls", "free"), [(1, 300), (4, 600), (9, 900)])
def test_deviations_of_many_calls_add_up_as_those_of_a_sum(calls: int, free: int) -> None:
    """One call cannot exceed its mean by more than 200, though, and four by 800."""
    limit = TokenLimit(0.0, PER_MINUTE)
    for _ in range(calls):
        limit.charge(0.0, uncertain(), 0)
    room = PER_MINUTE - 300 * calls - min(free, 200 * calls)
    assert limit.wait(59.0, known(room)) <= 0
    assert limit.wait(59.0, known(room + 1)) == 1.25
    assert limit.wait(60.25, known(PER_MINUTE)) <= 0, "it leaves with the calls"


def test_once_it_is_known_what_a_call_used_nothing_is_kept_free_for_it() -> None:
    limit = TokenLimit(0.0, PER_MINUTE)
    limit.settle(limit.charge(0.0, uncertain(), 0), 400)
    assert limit.wait(59.0, known(5600)) <= 0
    assert limit.wait(59.0, known(5601)) == 1.25


def test_a_call_that_used_less_counts_as_less_once_those_beside_it_are_over() -> None:
    limit, sizes = TokenLimit(0.0, PER_MINUTE), CallSizes(3000)
    first, second = (limit.charge(0.0, sizes, 0) for _ in range(2))
    limit.settle(first, 100)
    assert limit.wait(59.0, known(100)) == 1.25
    limit.settle(second, 1000)
    assert limit.wait(59.0, known(4900)) <= 0
    assert limit.wait(59.0, known(4901)) == 1.25


def test_a_call_that_used_nothing_is_given_back_whole_once() -> None:
    """To the minute and to the bucket."""
    limit = TokenLimit(0.0, PER_MINUTE)
    (charge,) = sent(limit, 0.0, 500)
    limit.settle(charge, 0)
    assert limit.wait(0.0, known(600)) == 0.0
    assert limit.wait(0.0, known(PER_MINUTE)) == 0.0
    assert limit.wait(0.0, known(PER_MINUTE + 1)) == 60.25, "an empty minute is waited for"


def test_rounding_errors_of_what_was_uncertain_stop_nothing() -> None:
    """The variances of calls of many kinds, added up and taken away again, leave a little more or less than nothing."""
    limit, rng = TokenLimit(0.0, PER_MINUTE), random.Random(0)
    for _ in range(100):
        kinds = [CallSizes(500) for _ in range(3)]
        for kind in kinds:
            for group in [kind.sent() for _ in range(3)]:
                kind.ended(group, rng.randrange(500))
        for charge in [limit.charge(0.0, kind, 0) for kind in kinds]:
            limit.settle(charge, 1)
        limit.wait(0.0, known(PER_MINUTE))
    assert limit.wait(59.0, known(PER_MINUTE - 300)) <= 0
