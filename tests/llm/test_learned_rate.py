"""What one refusal teaches, exactly: the rate of an epoch, and how fast the next one returns to it and passes it."""

import math

import pytest

from tests.llm.test_adaptive_rate_epochs import refused, sent
from weak2wise.llm.limits.adaptive_rate import AdaptiveRate, Epoch


def epoch(*, refused: int = 1, followers: int = 0, early: bool = False, sending_rate: float = 20.0) -> Epoch:
    """Of 101 requests in eight seconds and a pause of two."""
    made = Epoch(5.0)
    made.sent, made.refused, made.followers, made.early = 100 + refused, refused, followers, early
    made.sending_rate, made.ended = sending_rate, 15.0
    return made


def test_the_rate_lies_between_what_was_accepted_and_what_was_refused() -> None:
    assert epoch().rate == pytest.approx(0.7 * 20 + 0.3 * 10)


def test_without_a_rate_that_was_refused_and_early_on_the_lower_of_both_counts() -> None:
    assert epoch(sending_rate=math.inf).rate == 10
    assert epoch(early=True).rate == 10
    assert epoch(early=True, sending_rate=8.0).rate == 8


@pytest.mark.parametrize(
    ("followers", "refused", "stray"),
    [
        (3, 1, False),
        (4, 1, True),
        (4, 2, False),
        (19, 1, True),
        (19, 2, False),
        (20, 3, True),
        (20, 4, False),
        (40, 4, True),
        (40, 5, False),
    ],
)
def test_a_refusal_is_stray_if_nearly_all_that_followed_it_were_accepted(
    followers: int, refused: int, stray: bool
) -> None:
    assert epoch(refused=refused, followers=followers).stray is stray


def test_what_was_sent_and_refused_before_the_last_pause_is_counted_apart() -> None:
    earlier = epoch(refused=3)
    going_on = Epoch(30.0, earlier)
    assert (going_on.began, going_on.sent, going_on.refused) == (5.0, 103, 3)
    going_on.sent += 7
    going_on.refused += 2
    assert (going_on.length, going_on.latest_refused) == (7, 2)


def learned(count: int, seconds: float, pause: float) -> tuple[AdaptiveRate, float, float]:
    """A rate learned from so many requests in that time, the last one refused; when it goes on, and the rate."""
    adaptive = AdaptiveRate(0.0)
    refused(adaptive, sent(adaptive, 0.0, count, count / seconds), seconds, seconds + pause)
    return adaptive, seconds + pause, (count - 1) / (seconds + pause)


def shares(adaptive: AdaptiveRate, began: float, rate: float, at: list[int]) -> list[float]:
    """The rate as a share of the learned one, after so many requests."""
    found = []
    for number in range(1, max(at) + 1):
        adaptive.send(began)
        if number in at:
            assert adaptive.rate
            found.append(adaptive.rate / rate)
    return found


@pytest.mark.parametrize(
    ("count", "seconds", "pause", "returns_after"),
    [
        (1001, 8.0, 2.0, 1000),  # as many as the epoch before
        (31, 1.0, 1.0, 400),  # few
        (61, 55.0, 5.0, 150),  # slow: 150 seconds
        (31, 290.0, 10.0, 20),  # very slow
        (60_001, 590.0, 10.0, 6000),  # long: a minute
    ],
)
def test_an_epoch_begins_4_percent_below_the_learned_rate_returns_to_it_and_passes_it(
    count: int, seconds: float, pause: float, returns_after: int
) -> None:
    adaptive, now, rate = learned(count, seconds, pause)
    at = [1, returns_after // 2, returns_after, 2 * returns_after]
    expected = [1 + 0.04 * (number / returns_after - 1) ** 3 for number in at]
    assert shares(adaptive, now, rate, at) == pytest.approx(expected, rel=1e-12)
    assert expected[1:] == [1 - 0.04 / 8, 1, 1.04]


@pytest.mark.parametrize(("accepted", "teaches"), [(19, False), (20, True)])
def test_an_epoch_of_fewer_than_20_accepted_requests_goes_on_after_its_pause(accepted: int, teaches: bool) -> None:
    adaptive = AdaptiveRate(0.0)
    refused(adaptive, sent(adaptive, 0.0, accepted + 1), 1.0, 2.0)
    assert adaptive.send(2.0).sent == (1 if teaches else accepted + 2)
    assert (adaptive.rate is not None) is teaches


@pytest.mark.parametrize(("pause", "teaches"), [(90.0, True), (90.1, False)])
def test_a_pause_of_more_than_90_seconds_is_no_window_of_a_rate(pause: float, teaches: bool) -> None:
    adaptive, now, _ = learned(1001, 10.0, pause)
    adaptive.send(now)
    assert (adaptive.rate is not None) is teaches


def test_a_configured_rate_is_spaced_evenly_two_percent_below_it_and_lost_time_is_not_caught_up() -> None:
    adaptive = AdaptiveRate(0.0, configured=10)
    assert adaptive.rate == 9.8
    assert adaptive.wait(100.0) <= 0
    adaptive.send(100.0)
    assert adaptive.wait(100.0) == pytest.approx(1 / 9.8 - 0.02)
    adaptive.send(100.0 + 1 / 9.8 - 0.02)
    assert adaptive.wait(100.0) == pytest.approx(2 / 9.8 - 0.02)
    adaptive.send(101.0)
    assert adaptive.wait(101.0) == pytest.approx(1 / 9.8 - 0.02)


def test_nothing_is_learned_beyond_a_configured_rate() -> None:
    adaptive = AdaptiveRate(0.0, configured=50)
    refused(adaptive, sent(adaptive, 0.0, 1001), 8.0, 10.0)
    for _ in range(3000):
        adaptive.send(10.0)
    assert adaptive.rate == 49


def test_idle_time_counts_from_when_the_epoch_began() -> None:
    adaptive = AdaptiveRate(10.0)
    adaptive.idled(12.0, 15.0)
    assert adaptive.epoch.began == 13.0
    adaptive.idled(11.0, 12.0)
    assert adaptive.epoch.began == 13.0, "a pause that was over before"
    adaptive.idled(11.0, 14.0)
    assert adaptive.epoch.began == 14.0


def second_epoch(per_second: float, count: int) -> Epoch:
    """The epoch after a rate of 100 was learned, ended by a refusal; its requests were sent at this speed."""
    adaptive, now, rate = learned(1001, 8.0, 2.0)
    assert rate == 100
    last = sent(adaptive, now, count, per_second)
    refused(adaptive, last, now + count / per_second, now + count / per_second + 1.0)
    adaptive.send(now + count / per_second + 1.0)
    return last


def test_the_rate_that_was_refused_is_that_of_the_last_two_seconds() -> None:
    """At most the one that was allowed, and that one if there was no time to measure."""
    allowed = 100 * (1 + 0.04 * (0.6 - 1) ** 3)
    assert second_epoch(50.0, 600).sending_rate == pytest.approx(50.5, rel=0.01)
    assert second_epoch(200.0, 600).sending_rate == pytest.approx(allowed)
    assert second_epoch(700.0, 600).sending_rate == pytest.approx(allowed)


def test_less_than_a_second_is_no_time_to_measure_a_rate() -> None:
    """Then the rate that was allowed counts. What was sent before the last pause does not."""
    assert second_epoch(90.0, 89).sending_rate == pytest.approx(100 * (1 + 0.04 * (0.089 - 1) ** 3))
    assert second_epoch(90.0, 91).sending_rate == pytest.approx(90.0)


@pytest.mark.parametrize(("ended", "rate"), [(5.5, 200.0), (5.0, 100_000.0)])
def test_a_short_epoch_is_short(ended: float, rate: float) -> None:
    short = epoch(sending_rate=math.inf)
    short.ended = ended
    assert short.rate == pytest.approx(rate)


@pytest.mark.parametrize(("count", "early"), [(499, True), (500, False)])
def test_an_epoch_is_early_that_ends_before_half_of_its_way_back(count: int, early: bool) -> None:
    assert second_epoch(99.0, count).early is early


def test_an_epoch_is_early_too_if_the_rate_held_back_fewer_than_half_of_its_last_requests() -> None:
    assert second_epoch(60.0, 600).early


def goes_on(lengths: list[int], refusals: int = 1) -> list[bool]:
    """Of epochs of so many requests at full speed, each ended by so many refusals: whether each goes on after it."""
    adaptive, now, _ = learned(1001, 8.0, 2.0)
    found = []
    for length in lengths:
        last = sent(adaptive, now, length, 100)
        for _ in range(refusals):
            adaptive.refused(last)
        adaptive.end_epoch(now + length / 100, now + length / 100 + 1.0)
        now += length / 100 + 1.0
        found.append(last)
    adaptive.send(now)
    return [one.continued_by is not None for one in found]


def test_every_second_early_refusal_teaches_until_the_fourth_single_one_shows_that_none_of_them_does() -> None:
    assert goes_on([30] * 8) == [True, False, True, True, True, True, True, True]
    assert goes_on([30] * 8, refusals=2) == [True, False] * 4


@pytest.mark.parametrize(("length", "teaches"), [(14, True), (15, False)])
def test_refusals_that_became_more_than_twice_as_frequent_teach_again(length: int, teaches: bool) -> None:
    """The mean of four counts."""
    assert goes_on([30] * 5 + [length] * 4) == [True, False, *[True] * 6, not teaches]
