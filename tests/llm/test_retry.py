"""Retries and limits, against a model that fails on cue."""

import asyncio

import pytest

from weak2wise.errors import RecordError
from weak2wise.llm.errors import Down, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.model import Completion, Prompt
from weak2wise.llm.retry import Retried

MOST_RATE_LIMITED = 100
PROMPT = Prompt(messages=(), temperature=0.0, seed=0)


class Scripted:
    """Raises what the script says, one entry a call, then answers."""

    def __init__(self, *script: Exception) -> None:
        self.script = list(script)
        self.asked = 0

    async def complete(self, _prompt: Prompt, /) -> Completion:
        self.asked += 1
        if self.script:
            raise self.script.pop(0)
        return Completion(text="at last")


def fault() -> Transient:
    return Transient("server_error", "e: HTTP 500", endpoint="e")


def limited() -> RateLimited:
    return RateLimited("e: HTTP 429", endpoint="e", retry_after=None)


def retried(model: Scripted, max_retries: int = 3) -> Retried:
    return Retried(model, max_retries=max_retries, first_wait=0.001, longest_wait=0.002)


@pytest.mark.parametrize("faults", range(4))
async def test_transient_faults_are_retried_in_place(faults: int) -> None:
    model = Scripted(*(fault() for _ in range(faults)))
    assert (await retried(model).complete(PROMPT)).text == "at last"
    assert model.asked == faults + 1


@pytest.mark.parametrize("max_retries", [0, 1, 3])
async def test_a_call_that_never_succeeds_gives_up_after_max_retries(max_retries: int) -> None:
    model = Scripted(*(fault() for _ in range(10)))
    with pytest.raises(Transient) as caught:
        await retried(model, max_retries).complete(PROMPT)
    assert model.asked == max_retries + 1
    assert caught.value.attempts == model.asked


async def test_waiting_out_rate_limits_uses_up_no_retries() -> None:
    model = Scripted(limited(), limited(), fault(), limited(), fault())
    assert (await retried(model, max_retries=2).complete(PROMPT)).text == "at last"
    assert model.asked == 6


async def test_endless_rate_limiting_ends_all_the_same() -> None:
    model = Scripted(*(limited() for _ in range(1000)))
    with pytest.raises(RateLimited):
        await retried(model).complete(PROMPT)
    assert model.asked == MOST_RATE_LIMITED


@pytest.mark.parametrize("before", [0, 2])
async def test_what_would_be_refused_again_is_not_asked_again(before: int) -> None:
    model = Scripted(*(fault() for _ in range(before)), Rejected("bad_request", "e: HTTP 400", endpoint="e"))
    with pytest.raises(RecordError) as caught:
        await retried(model).complete(PROMPT)
    assert model.asked == caught.value.attempts == before + 1


@pytest.mark.parametrize("before", [0, 2])
async def test_an_endpoint_that_is_down_was_not_asked(before: int) -> None:
    model = Scripted(*(fault() for _ in range(before)), Down("e: down", endpoint="e"))
    with pytest.raises(RecordError) as caught:
        await retried(model).complete(PROMPT)
    assert (model.asked, caught.value.attempts) == (before + 1, before)


async def test_what_stops_the_run_is_not_retried() -> None:
    model = Scripted(Unusable("e: HTTP 401", hint="key"))
    with pytest.raises(Unusable):
        await retried(model).complete(PROMPT)
    assert model.asked == 1


async def test_many_calls_retry_side_by_side_without_mixing_up_their_counts() -> None:
    models = [Scripted(*(fault() for _ in range(n % 5))) for n in range(200)]
    results = await asyncio.gather(*(retried(m).complete(PROMPT) for m in models), return_exceptions=True)
    assert [isinstance(r, Transient) for r in results] == [n % 5 == 4 for n in range(200)]
    assert [m.asked for m in models] == [n % 5 + 1 if n % 5 < 4 else 4 for n in range(200)]


async def test_a_server_in_trouble_that_says_when_is_not_asked_before() -> None:
    loop = asyncio.get_running_loop()
    error = fault()
    error.retry_after = 0.2
    began = loop.time()
    await Retried(Scripted(error), max_retries=1, first_wait=0.001, longest_wait=5).complete(PROMPT)
    assert loop.time() - began >= 0.19


async def test_a_server_that_wants_to_be_left_alone_for_a_day_is_asked_again_after_the_longest_wait() -> None:
    loop = asyncio.get_running_loop()
    error = fault()
    error.retry_after = 86_400.0
    model, began = Scripted(error), loop.time()
    async with asyncio.timeout(20):
        await Retried(model, max_retries=1, first_wait=0.001, longest_wait=0.1).complete(PROMPT)
    assert loop.time() - began >= 0.09
    assert model.asked == 2


async def test_rate_limits_with_a_fault_between_them_are_not_in_a_row() -> None:
    some = [limited() for _ in range(MOST_RATE_LIMITED - 1)]
    model = Scripted(*some, fault(), *some)
    assert (await retried(model).complete(PROMPT)).text == "at last"
    assert model.asked == 2 * MOST_RATE_LIMITED
