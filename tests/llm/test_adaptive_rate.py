"""The rate that a provider allows is learned from its refusals, kept, and found again when it changes."""

import math
import random
from collections import deque

import pytest

from weak2wise.llm.limits.adaptive_rate import LONGEST_WINDOW, AdaptiveRate, Epoch


def simulated(adaptive: AdaptiveRate, allowed: float, start: float, seconds: int) -> tuple[int, int]:
    """So many seconds of a server with a token bucket ten seconds deep; returns requests answered and refused."""
    answered, refused, left = 0, 0, 10 * allowed
    for tick in range(50 * seconds):
        now = start + tick / 50
        left = min(10 * allowed, left + allowed / 50)
        while now >= adaptive.resumes_at and adaptive.wait(now) <= 0:
            epoch = adaptive.send(now)
            if left < 1:
                refused += 1
                adaptive.refused(epoch)
                adaptive.end_epoch(now, now + 1.0)
            else:
                left -= 1
                answered += 1
    return answered, refused


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "seconds"), [(5, 1000), (200, 250)])
def test_a_rate_is_learned_kept_and_left_when_it_rises_or_falls(rate: float, seconds: int) -> None:
    """In the long run over 95% of what is allowed and less than 1% refused, also after the limit has changed."""
    adaptive = AdaptiveRate(0.0)
    for number, allowed in enumerate((rate, rate * 2, rate / 2)):
        start = number * 2 * seconds
        simulated(adaptive, allowed, start, seconds)
        answered, refused = simulated(adaptive, allowed, start + seconds, seconds)
        assert answered > 0.95 * seconds * allowed
        assert refused < 0.01 * answered


def counted_by_the_window(adaptive: AdaptiveRate, rate: float, window: float, seconds: float) -> tuple[int, int]:
    """A server that admits ``rate * window`` requests in any window, and whose Retry-After is in whole seconds.

    Requests arrive some milliseconds after they were sent, no two as late. Returns requests answered and refused in the
    second half of the time.
    """
    rng = random.Random(0)
    quota, admitted = round(rate * window), deque[float]()
    answered, refused, now, pause = 0, 0, 0.0, 0.0
    while now < seconds:
        now = max(now + 0.0005, pause, now + adaptive.wait(now)) + rng.expovariate(1000)
        epoch = adaptive.send(now)
        arrives = now + rng.expovariate(500)
        while admitted and admitted[0] <= arrives - window:
            admitted.popleft()
        late = now > seconds / 2
        if len(admitted) < quota:
            admitted.append(arrives)
            answered += late
            continue
        refused += late
        adaptive.refused(epoch)
        pause = now + math.ceil(admitted[0] + window - arrives)
        adaptive.end_epoch(now, pause)
    return answered, refused


@pytest.mark.slow
@pytest.mark.parametrize("rate", [20, 100])
@pytest.mark.parametrize("window", [1, 10, 60])
def test_a_rate_is_learned_whatever_window_the_server_counts_in(rate: float, window: float) -> None:
    """Over 95% of what is allowed and less than 1% refused, though each pause is longer than it need be."""
    answered, refused = counted_by_the_window(AdaptiveRate(0.0), rate, window, 600)
    assert answered > 0.95 * 300 * rate
    assert refused < 0.01 * answered


def test_a_configured_rate_is_kept_and_never_passed_where_the_server_counts_by_the_second() -> None:
    answered, refused = counted_by_the_window(AdaptiveRate(0.0, configured=100), 100, 1, 600)
    assert answered > 0.95 * 300 * 100
    assert refused < 0.001 * answered


def test_one_early_refusal_teaches_nothing_and_two_do() -> None:
    adaptive = AdaptiveRate(0.0)
    for number in range(1000):
        adaptive.send(number / 100)
    adaptive.end_epoch(10.0, 11.0)
    now = 11.0
    for expected in (
        pytest.approx(1000 / 11, rel=0.05),
        pytest.approx(1000 / 11, rel=0.05),
        pytest.approx(30, rel=0.5),
    ):
        for number in range(30):
            epoch = adaptive.send(now + number / 100)
            assert adaptive.rate == expected
        adaptive.refused(epoch)
        adaptive.end_epoch(now + 0.3, now + 1.0)
        now += 1.0


def test_a_stray_refusal_hardly_lowers_the_rate_and_another_one_does() -> None:
    """Of 100 requests a second for ten seconds one was refused, and what followed it was accepted, or nothing did."""
    rates = []
    for followers in (10, 0):
        epoch = Epoch(0.0)
        epoch.sent, epoch.refused, epoch.followers = 1000, 1, followers
        epoch.sending_rate, epoch.ended = 100.0, 13.0
        rates.append(epoch.rate)
    assert rates == [98.0, pytest.approx(0.7 * 100 + 0.3 * 999 / 13)]


def test_refusals_that_were_disregarded_count_again_once_several_come_at_once() -> None:
    adaptive, now = AdaptiveRate(0.0), 0.0
    rates: list[float] = []
    for number in range(60):
        for _ in range(30):
            now = max(now + 0.001, now + adaptive.wait(now))
            epoch = adaptive.send(now)
        rates.append(adaptive.rate or math.inf)
        for _ in range(1 if number < 40 else 3):
            adaptive.refused(epoch)
        adaptive.end_epoch(now, now + 0.1)
        now += 0.1
    assert rates[20:41] == sorted(rates[20:41]), "refused singly however slowly one asks: faster and faster"
    assert rates[-1] < rates[40] / 2


@pytest.mark.slow
@pytest.mark.parametrize("chance", [0.001, 0.002, 0.005])
def test_refusals_by_chance_cost_little_more_than_the_pauses_they_ask_for(chance: float) -> None:
    """Over 75% of what could be sent between the pauses is, on an average."""
    assert sum(refused_by_chance(chance, seed) for seed in range(3)) / 3 > 0.75


def refused_by_chance(chance: float, seed: int) -> float:
    """The share sent of 400 requests a second; a refusal arrives 0.3 s after its request and asks for a second."""
    adaptive, rng, now, refusals, paused = (
        AdaptiveRate(0.0),
        random.Random(seed),
        0.0,
        deque[tuple[float, Epoch, int]](),
        0.0,
    )
    sent = 0
    while now < 300:
        at = max(now + rng.expovariate(400), adaptive.resumes_at, now + adaptive.wait(now))
        if refusals and refusals[0][0] <= at:
            now, epoch, number = refusals.popleft()
            adaptive.refused(epoch)
            if epoch is adaptive.epoch:
                paused += 1.0
                adaptive.end_epoch(now, now + 1.0, followers=sent - number)
            else:
                adaptive.prolong(now + 1.0)
            continue
        now, epoch, sent = at, adaptive.send(at), sent + 1
        if rng.random() < chance:
            refusals.append((now + 0.3, epoch, sent))
    return sent / 400 / (now - paused)


def test_refusals_that_do_not_follow_the_rate_do_not_bring_it_down_for_ever() -> None:
    """Every tenth request is refused however slowly one asks."""
    adaptive, now, rates = AdaptiveRate(0.0), 0.0, []
    for number in range(1, 2000):
        now = max(now + 0.01, adaptive.resumes_at, now + adaptive.wait(now))
        epoch = adaptive.send(now)
        rates.append(adaptive.rate)
        if number % 10 == 0:
            adaptive.refused(epoch)
            adaptive.end_epoch(now, now + 1)
    assert min(rate for rate in rates if rate) > 0.5
    assert rates[-1] is None or rates[-1] > 10, rates[-1]


def after_a_pause(seconds: float) -> tuple[float | None, float | None]:
    """The rate before a refusal that asks for so long a pause, and once something is sent after it.

    100 requests a second were learned before.
    """
    adaptive = AdaptiveRate(0.0)
    now = 0.0
    for _ in range(2):
        for number in range(1000):
            epoch = adaptive.send(now + number / 100)
        before = adaptive.rate
        adaptive.refused(epoch)
        now += 10 + (1.0 if before is None else seconds)
        adaptive.end_epoch(now - (1.0 if before is None else seconds), until=now)
    adaptive.send(now)
    return before, adaptive.rate


def test_a_day_s_quota_is_waited_out_and_not_taken_for_a_rate() -> None:
    """What was learned before is forgotten, too: it was another limit's, or of a time long past."""
    before, after = after_a_pause(LONGEST_WINDOW + 1)
    assert before == pytest.approx(91, rel=0.05)
    assert after is None


def test_a_minute_s_pause_is_taken_for_a_rate() -> None:
    before, after = after_a_pause(60.0)
    assert before == pytest.approx(91, rel=0.05)
    assert before is not None
    assert after is not None
    assert after < before


def test_without_a_rate_so_far_a_day_s_quota_teaches_none() -> None:
    adaptive = AdaptiveRate(0.0)
    for number in range(50):
        adaptive.send(number / 10)
    adaptive.refused(adaptive.send(5))
    adaptive.end_epoch(5, until=5 + LONGEST_WINDOW + 1)
    adaptive.send(5 + LONGEST_WINDOW + 1)
    assert adaptive.rate is None
