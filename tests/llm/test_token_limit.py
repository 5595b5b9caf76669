"""Tokens a minute: in every 60 seconds, what was sent used no more than the limit, however sizes differ.

Simulated: nothing waits for real.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import pytest

from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.limits.token_limit import Charge, TokenLimit

TOLERANCE = 1.2
"""Where a few dozen calls fill the limit and their sizes differ by a factor of a hundred; else 1."""


class Kind(NamedTuple):
    """Calls of one kind: how many of all, the longest answer, and how one call turns out."""

    share: float
    longest: int
    draw: Callable[[random.Random], tuple[int, int, float]]
    """Estimated tokens of the prompt, tokens used, seconds."""


class Flight(NamedTuple):
    """A call in flight."""

    ends: float
    number: int
    used: int
    charge: Charge


def simulate(
    per_minute: float, kinds: list[Kind], seconds: float, seed: int, at_once: int = 1000
) -> list[tuple[float, int]]:
    """There is always one more call to send; returns when each was sent and what it used."""
    rng = random.Random(seed)
    limit, sizes = TokenLimit(0.0, per_minute), [CallSizes(kind.longest) for kind in kinds]
    now, flying, sent = 0.0, list[Flight](), list[tuple[float, int]]()
    while now < seconds:
        (which,) = rng.choices(range(len(kinds)), [kind.share for kind in kinds])
        prompt, used, took = kinds[which].draw(rng)
        while len(flying) >= at_once or (wait := limit.wait(now, sizes[which].expect(prompt))) > 0:
            if flying and (len(flying) >= at_once or flying[0].ends <= now + wait):
                ended = heapq.heappop(flying)
                now = ended.ends
                limit.settle(ended.charge, ended.used)
            else:
                now += wait + 1e-6
        charge = limit.charge(now, sizes[which], prompt)
        heapq.heappush(flying, Flight(now + took, len(sent), used, charge))
        sent.append((now, used))
    return sent


def busiest_minute(sent: list[tuple[float, int]]) -> int:
    """The most tokens that were sent for within any 60 seconds."""
    most = within = first = 0
    for at, used in sent:
        within += used
        while sent[first][0] <= at - 60:
            within -= sent[first][1]
            first += 1
        most = max(most, within)
    return most


def used_share(sent: list[tuple[float, int]], per_minute: float, since: float, until: float) -> float:
    return sum(used for at, used in sent if since <= at < until) / (per_minute * (until - since) / 60)


def small(rng: random.Random) -> tuple[int, int, float]:
    return 50, rng.randint(60, 110), rng.uniform(0.5, 1.5)


def trace(seconds_per_token: float) -> Callable[[random.Random], tuple[int, int, float]]:
    def draw(rng: random.Random) -> tuple[int, int, float]:
        answer = min(32_768, max(50, round(rng.lognormvariate(8.2, 1.0))))  # 6,000 on average
        return 200, 200 + answer, answer * seconds_per_token

    return draw


def steady(used: int, seconds: float) -> Callable[[random.Random], tuple[int, int, float]]:
    return lambda _: (100, 100 + used, seconds)


def short_or_long(rng: random.Random) -> tuple[int, int, float]:
    """Short ones come back after 10 seconds, long ones after 310: those that have arrived are not typical."""
    answer = rng.choice([500, 15_500])
    return 200, 200 + answer, answer * 0.02


def underestimated(rng: random.Random) -> tuple[int, int, float]:
    """A prompt of 1,000 tokens by its length that has 3,000."""
    return 1000, 3000 + rng.randint(10, 60), 2.0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("per_minute", "kinds", "tolerance", "used"),
    [
        (60_000, [Kind(1, 32_768, steady(800, 16.0))], 1.0, 0.9),
        (60_000, [Kind(1, 8192, steady(800, 0.1))], 1.0, 0.9),
        (60_000, [Kind(1, 8192, underestimated)], 1.0, 0.85),
        (60_000, [Kind(9, 8192, small), Kind(1, 32_768, trace(0.02))], TOLERANCE, 0.2),
        (60_000, [Kind(9, 8192, small), Kind(1, 32_768, trace(0.0001))], TOLERANCE, 0.5),
        (300_000, [Kind(10, 8192, small), Kind(1, 32_768, trace(0.005))], TOLERANCE, 0.5),
        (600_000, [Kind(1, 32_768, short_or_long)], TOLERANCE, 0.4),
    ],
    ids=[
        "800 of 32k",
        "at once",
        "wrong prompt",
        "filter and traces",
        "the same, fast",
        "larger",
        "bimodal",
    ],
)
def test_every_minute_keeps_to_the_limit_and_most_of_it_is_used(
    per_minute: float, kinds: list[Kind], tolerance: float, used: float, seed: int
) -> None:
    sent = simulate(per_minute, kinds, 900.0, seed)
    assert busiest_minute(sent) <= tolerance * per_minute
    assert used_share(sent, per_minute, 600.0, 900.0) >= used


def test_answers_far_shorter_than_max_tokens_do_not_throttle_a_kind_for_long() -> None:
    """Each may take 32,768 tokens of 60,000 a minute, and takes 900: nearly one at a time at first."""
    sent = simulate(60_000, [Kind(1, 32_768, steady(800, 5.0))], 600.0, 0)
    assert used_share(sent, 60_000, 0.0, 60.0) < 0.5
    assert used_share(sent, 60_000, 180.0, 600.0) > 0.9


def test_a_call_larger_than_the_limit_is_sent_alone() -> None:
    sent = simulate(6000, [Kind(1, 8192, steady(7900, 1.0))], 600.0, 0)
    assert len(sent) > 5
    assert all(later - earlier >= 60 for (earlier, _), (later, _) in pairwise(sent))


def test_an_excess_found_while_its_minute_lasts_holds_the_next_calls_back() -> None:
    limit, sizes = TokenLimit(0.0, 6000), CallSizes(500)
    charges = [limit.charge(at, sizes, 0) for at in (0.0, 5.0, 10.0)]
    assert limit.wait(20.0, sizes.expect(0)) <= 0
    for charge in charges:
        limit.settle(charge, 2000)
    assert limit.wait(20.0, sizes.expect(0)) >= 40.25
    assert limit.wait(70.3, sizes.expect(0)) <= 0


async def test_traces_do_not_pass_at_the_size_of_the_small_calls_of_their_limit_group() -> None:
    """A hundred small answers are known; traces of the same limits are still charged as what they may be."""
    limits = Limits(tokens_per_minute=60_000, in_flight=1000)
    filters, traces = CallSizes(100), CallSizes(30_000)
    for _ in range(50):
        slot = await limits.acquire(filters, 10)
        assert slot
        slot.answered(40)
        slot.release()
    waiting = [asyncio.create_task(limits.acquire(traces, 50)) for _ in range(30)]
    await asyncio.sleep(0.01)
    assert limits.in_flight <= 1
    for task in waiting:
        task.cancel()
