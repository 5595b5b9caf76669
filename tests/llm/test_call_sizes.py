"""What the next call of a kind is expected to use, from the calls before it: one case at a time, and exactly."""

import pytest

from weak2wise.llm.limits.call_sizes import CallSizes, Expected

LONGEST = 1000.0
GROUP, MEMORY = 16, 400
"""Calls that are counted together, and answers after which they are forgotten."""


def answered(sizes: CallSizes, *tokens: float) -> None:
    """Calls that are sent together and then answered with so many tokens."""
    for group, used in [(sizes.sent(), used) for used in tokens]:
        sizes.ended(group, used)


def test_an_unknown_kind_is_expected_to_use_all_that_it_may() -> None:
    assert CallSizes(LONGEST).expect(50) == Expected(mean=1050, variance=0, most=1050)


def test_every_call_uses_a_token_at_least() -> None:
    assert CallSizes(0).expect(0) == Expected(mean=1, variance=0, most=0)


def test_the_mean_has_one_call_of_the_greatest_length_besides_those_that_are_known() -> None:
    sizes = CallSizes(LONGEST)
    answered(sizes, 100, 300)
    assert sizes.expect(50) == Expected(mean=50 + (100 + 300 + 1000) / 3, variance=100**2, most=1050)


def test_a_call_in_flight_counts_as_the_longest() -> None:
    sizes = CallSizes(LONGEST)
    first, _ = sizes.sent(), sizes.sent()
    sizes.ended(first, 100)
    assert sizes.expect(0) == Expected(mean=700, variance=450**2, most=1000)


def test_a_call_of_which_nothing_is_known_does_not_count() -> None:
    sizes = CallSizes(LONGEST)
    first, second = sizes.sent(), sizes.sent()
    sizes.ended(first, None)
    sizes.ended(second, 100)
    assert sizes.expect(0) == Expected(mean=550, variance=0, most=1000)


def test_an_answer_longer_than_any_is_the_longest_from_then_on() -> None:
    sizes = CallSizes(LONGEST)
    answered(sizes, 2000)
    assert sizes.expect(50).most == 2050


def test_those_sent_later_and_still_in_flight_do_not_raise_the_mean_of_those_before() -> None:
    sizes = CallSizes(LONGEST)
    answered(sizes, *[100.0] * GROUP)
    later = [sizes.sent() for _ in range(GROUP)]
    assert sizes.expect(0).mean == (GROUP * 100 + 1000) / (GROUP + 1)
    for group in later[1:]:
        sizes.ended(group, 100)
    assert sizes.expect(0).mean == (GROUP * 100 + 1000) / (GROUP + 1), "the last one may be the longest"


def test_shorter_answers_that_come_later_lower_the_mean() -> None:
    sizes = CallSizes(LONGEST)
    answered(sizes, *[100.0] * GROUP)
    answered(sizes, *[50.0] * GROUP)
    assert sizes.expect(0).mean == (GROUP * 150 + 1000) / (2 * GROUP + 1)


@pytest.mark.parametrize(("groups", "counted"), [(4, 2), (10, 5), (20, 8), (24, 8)])
def test_a_few_short_answers_at_first_are_not_typical(groups: int, counted: int) -> None:
    """Half of those that are answered count, up to eight groups (128), although the first group's mean is lower."""
    sizes = CallSizes(LONGEST)
    answered(sizes, *[100.0] * GROUP, *[800.0] * GROUP * (groups - 1))
    assert sizes.expect(0).mean == (GROUP * (100 + 800 * (counted - 1)) + 1000) / (counted * GROUP + 1)


def test_a_group_is_forgotten_after_so_many_answers_and_what_arrives_of_it_later_changes_nothing() -> None:
    sizes = CallSizes(LONGEST)
    late = sizes.sent()
    answered(sizes, *[900.0] * (GROUP - 1), *[100.0] * (MEMORY - 1))
    before = (15 * 900 + 399 * 100 + 2 * 1000) / 416
    assert sizes.expect(0).mean == before, "the first group counts still"
    answered(sizes, 100)
    after = sizes.expect(0)
    assert after == Expected(mean=(MEMORY * 100 + 1000) / (MEMORY + 1), variance=0, most=1000)
    sizes.ended(late, 900)
    answered(sizes, 100)
    assert sizes.expect(0).mean == ((MEMORY + 1) * 100 + 1000) / (MEMORY + 2)
