"""What an epoch of the learned rate counts: pauses, idle time and late refusals, one case at a time."""

import pytest

from weak2wise.llm.limits.adaptive_rate import AdaptiveRate, Epoch

PER_SECOND = 100


def sent(adaptive: AdaptiveRate, began: float, count: int, per_second: float = PER_SECOND) -> Epoch:
    """Send so many requests, evenly; returns the epoch of the last one."""
    for number in range(count):
        epoch = adaptive.send(began + number / per_second)
    return epoch


def refused(adaptive: AdaptiveRate, epoch: Epoch, now: float, until: float) -> None:
    adaptive.refused(epoch)
    adaptive.end_epoch(now, until)


def learned() -> AdaptiveRate:
    """A rate of 91 a second: a thousand requests in ten seconds and a pause of one, until second 11."""
    adaptive = AdaptiveRate(0.0)
    refused(adaptive, sent(adaptive, 0.0, 1000), 10.0, 11.0)
    return adaptive


NEAR = pytest.approx(91, rel=0.06)


def test_the_pause_counts_with_all_that_later_refusals_add_to_it() -> None:
    adaptive = learned()
    adaptive.prolong(30.0)
    adaptive.send(30.0)
    assert adaptive.rate == pytest.approx(1000 / 30, rel=0.06)


def test_a_refusal_that_arrives_after_the_pause_does_not_begin_another_one() -> None:
    adaptive = learned()
    epoch = adaptive.send(11.0)
    adaptive.prolong(40.0)
    assert adaptive.send(11.1) is epoch
    assert adaptive.resumes_at == 11.0
    assert adaptive.rate == NEAR


def test_a_pause_that_was_too_short_is_no_epoch() -> None:
    """All sent after it was refused. An epoch that ends early afterwards is the first one, and teaches nothing."""
    adaptive = learned()
    refused(adaptive, adaptive.send(11.0), 11.1, 100.0)
    adaptive.send(100.0)
    assert adaptive.rate == NEAR, "its length is not the length of the epoch before"
    refused(adaptive, sent(adaptive, 100.0, 30), 100.4, 102.0)
    adaptive.send(102.0)
    assert adaptive.rate == NEAR


def test_time_in_which_nothing_was_to_be_sent_does_not_count() -> None:
    adaptive = AdaptiveRate(0.0)
    sent(adaptive, 0.0, 500)
    adaptive.idled(5.0, 605.0)
    refused(adaptive, sent(adaptive, 605.0, 500), 610.0, 611.0)
    adaptive.send(611.0)
    assert adaptive.rate == NEAR


def test_idle_time_before_an_epoch_is_not_taken_from_it() -> None:
    adaptive = AdaptiveRate(100.0)
    adaptive.idled(0.0, 105.0)
    assert adaptive.epoch.began == 105.0


def test_a_late_refusal_counts_for_the_epoch_that_goes_on_with_its_own() -> None:
    adaptive = learned()
    early = sent(adaptive, 11.0, 30)
    refused(adaptive, early, 11.4, 12.0)
    going_on = adaptive.send(12.0)
    assert (going_on.sent, going_on.refused) == (31, 1)
    adaptive.refused(early)
    assert (going_on.refused, going_on.latest_refused) == (2, 1)


def test_a_refusal_while_the_rate_holds_nothing_back_is_no_evidence_alone() -> None:
    """A tenth of what is allowed was sent, for long: what was refused was not the rate."""
    adaptive = learned()
    refused(adaptive, sent(adaptive, 11.0, 600, 10), 71.0, 72.0)
    adaptive.send(72.0)
    assert adaptive.rate is not None
    assert adaptive.rate > 60


def test_a_short_pause_is_short_however_long_the_run_has_been_going() -> None:
    adaptive = AdaptiveRate(0.0)
    for began in (1000.0, 1020.0, 1040.0):
        adaptive.idled(adaptive.epoch.began, began)
        refused(adaptive, sent(adaptive, began, 1000), began + 10, began + 11)
    adaptive.send(1051.0)
    assert adaptive.rate is not None


def test_the_learned_rate_is_reached_again_after_a_minute_at_most() -> None:
    """However long the epoch before took."""
    adaptive = AdaptiveRate(0.0)
    refused(adaptive, sent(adaptive, 0.0, 60_000), 600.0, 601.0)
    sent(adaptive, 601.0, 3000)
    rate = 60_000 / 601
    assert adaptive.rate == pytest.approx(rate * (1 - 0.04 / 8), rel=1e-3)
    sent(adaptive, 631.0, 3000)
    assert adaptive.rate == pytest.approx(rate, rel=1e-3)


def early_refusals(adaptive: AdaptiveRate, now: float, count: int) -> float:
    """So many epochs of 30 requests and a single refusal; returns when the last one's pause is over."""
    for _ in range(count):
        refused(adaptive, sent(adaptive, now, 30), now + 0.3, now + 1.0)
        now += 1.0
    adaptive.send(now)
    return now


def test_refusals_that_were_disregarded_before_a_long_pause_count_again_after_it() -> None:
    """Another limit may hold by then; two epochs that end early teach again."""
    adaptive = learned()
    now = early_refusals(adaptive, 11.0, 20)
    refused(adaptive, sent(adaptive, now, 100), now + 1.0, now + 1001.0)
    adaptive.send(now + 1001.0)
    assert adaptive.rate is None
    refused(adaptive, sent(adaptive, now + 1001.0, 1000), now + 1011.0, now + 1012.0)
    early_refusals(adaptive, now + 1012.0, 2)
    assert adaptive.rate == pytest.approx(30, rel=0.1)


def test_refusals_go_on_being_disregarded_after_a_short_pause() -> None:
    """So the test above has something to forget."""
    adaptive = learned()
    now = early_refusals(adaptive, 11.0, 20)
    before = adaptive.rate
    early_refusals(adaptive, now, 2)
    assert before is not None
    assert adaptive.rate is not None
    assert adaptive.rate >= before
