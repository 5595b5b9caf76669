"""An endpoint of any kind is asked within its limits and the budget, and what comes of its calls is counted."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.admission import Admitted
from weak2wise.llm.call import Call, calling
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.drain import Drain
from weak2wise.llm.errors import RateLimited, Rejected, Unusable
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limits import Limits, Slot
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Message, Prompt, Usage
from weak2wise.llm.worst_case import WorstCase

PROMPT = Prompt(messages=(Message("system", "Café?"), Message("user", "12 by")), temperature=0.6, seed=1)
BYTES = 11
ANSWER = Completion(text="4", usage=Usage(11, 9))
LONGEST = 100


def cost(usage: Usage) -> float:
    """A dollar for each token of an answer."""
    return float(usage.completion_tokens)


class Scripted:
    """Does what its script says, call by call: answers or raises. Holds each call until it may end."""

    def __init__(self, *script: Completion | Exception) -> None:
        self.script = list(script)
        self.asked = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def complete(self, prompt: Prompt, /) -> Completion:
        assert prompt is PROMPT
        self.asked += 1
        await self.may_end.wait()
        what = self.script.pop(0)
        if isinstance(what, Exception):
            raise what
        return what


class Noting(Limits):
    """Remembers how large each call was said to be."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.said: list[tuple[CallSizes | None, float]] = []

    async def acquire(self, sizes: CallSizes | None = None, prompt_tokens: float = 0.0, **rest: Any) -> Slot | None:
        self.said.append((sizes, prompt_tokens))
        return await super().acquire(sizes, prompt_tokens, **rest)


def admitted(model: Scripted, limits: Limits | None = None, budget: CostBudget | None = None) -> Admitted:
    return Admitted(
        model=model,
        limits=limits,
        budget=budget or CostBudget(),
        meter=Meter(),
        cost=cost,
        worst_case=WorstCase("e", cost, LONGEST),
        longest_answer=LONGEST,
        redact=lambda text: text.replace("secret", "[redacted]"),
    )


WITH_AND_WITHOUT = pytest.mark.parametrize("limited", [True, False], ids=["limits", "embedded"])


def limits_if(limited: bool) -> Limits | None:
    return Limits(in_flight=10) if limited else None


@WITH_AND_WITHOUT
async def test_what_was_sent_answered_and_failed_is_counted_and_its_cost(limited: bool) -> None:
    limits = limits_if(limited)
    model = admitted(Scripted(ANSWER, Rejected("bad_request", "no", endpoint="e"), ANSWER), limits)
    assert await model.complete(PROMPT) == ANSWER
    with pytest.raises(Rejected):
        await model.complete(PROMPT)
    await model.complete(PROMPT)
    assert (model.meter.sent, model.meter.answered, dict(model.meter.faults)) == (3, 2, {"bad_request": 1})
    assert dict(model.meter.took.buckets())["+Inf"] == 2
    assert 0 <= model.meter.took.total < 20
    assert model.budget.spent == 18
    assert limits is None or limits.in_flight == 0


@WITH_AND_WITHOUT
async def test_while_a_call_is_under_way_the_most_that_it_may_cost_is_reserved(limited: bool) -> None:
    scripted, budget = Scripted(ANSWER), CostBudget(150.0)
    scripted.may_end.clear()
    call = asyncio.create_task(admitted(scripted, limits_if(limited), budget).complete(PROMPT))
    await asyncio.sleep(0.01)
    probe = budget.reservation("other", 50.0)
    assert probe.take()
    assert not budget.reservation("other", 0.01).take()
    probe.release()
    scripted.may_end.set()
    await call
    assert budget.reservation("other", 150.0 - 9).take()


@WITH_AND_WITHOUT
async def test_a_call_that_does_not_fit_waits_for_others_and_is_sent_then(limited: bool) -> None:
    scripted = Scripted(ANSWER, ANSWER)
    scripted.may_end.clear()
    model = admitted(scripted, limits_if(limited), CostBudget(150.0))
    calls = [asyncio.create_task(model.complete(PROMPT)) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert scripted.asked == 1
    scripted.may_end.set()
    async with asyncio.timeout(20):
        assert await asyncio.gather(*calls) == [ANSWER, ANSWER]
    assert model.budget.spent == 18


@WITH_AND_WITHOUT
async def test_what_a_failed_call_used_is_charged_and_nothing_stays_reserved(limited: bool) -> None:
    error = Rejected("bad_request", "no", endpoint="e")
    error.usage = Usage(11, 7)
    charged: list[Usage] = []

    async def note(usage: Usage) -> None:
        charged.append(usage)

    free = Rejected("bad_request", "no", endpoint="e")
    model = admitted(Scripted(error, free), limits_if(limited), CostBudget(150.0))
    for _ in range(2):
        with calling(Call(charge=note)), pytest.raises(Rejected):
            await model.complete(PROMPT)
    assert charged == [Usage(11, 7)]
    assert model.budget.spent == 7
    assert model.budget.reservation("other", 143.0).take()


async def test_a_429_pauses_the_endpoint_for_as_long_as_it_said() -> None:
    limits = Limits(in_flight=10)
    model = admitted(Scripted(ANSWER, RateLimited("slow down", endpoint="e", retry_after=30.0)), limits)
    await model.complete(PROMPT)
    with pytest.raises(RateLimited):
        await model.complete(PROMPT)
    assert 29 < limits.pause_left <= 30
    assert limits.in_flight == 0


async def test_other_faults_pause_nothing() -> None:
    limits = Limits(in_flight=10)
    model = admitted(Scripted(Rejected("bad_request", "no", endpoint="e")), limits)
    with pytest.raises(Rejected):
        await model.complete(PROMPT)
    assert limits.pause_left == 0


async def test_calls_are_expected_to_be_as_large_as_those_of_their_role() -> None:
    """A prompt has a token in four bytes, about."""
    limits = Noting(tokens_per_minute=1e6)
    model = admitted(Scripted(ANSWER, ANSWER, ANSWER), limits)
    for role in ("weak", "judge", "weak"):
        with calling(Call(role=role)):
            await model.complete(PROMPT)
    (weak, size), (judge, _), (again, _) = limits.said
    assert size == BYTES / 4
    assert weak is again is not judge
    assert weak
    assert judge
    used = ANSWER.usage.tokens - BYTES / 4
    assert judge.expect(0).mean == (used + LONGEST) / 2
    assert weak.expect(0).mean == (2 * used + LONGEST) / 3


async def test_the_bytes_of_a_prompt_are_the_most_tokens_that_it_may_have() -> None:
    """And those of a chat template."""
    scripted, budget = Scripted(ANSWER), CostBudget(1000.0)
    scripted.may_end.clear()
    a_dollar_a_token = WorstCase("e", lambda usage: float(usage.prompt_tokens), LONGEST)
    model = replace(admitted(scripted, None, budget), worst_case=a_dollar_a_token)
    call = asyncio.create_task(model.complete(PROMPT))
    await asyncio.sleep(0.01)
    rest = budget.reservation("other", 1000.0 - BYTES - 256)
    assert rest.take()
    assert not budget.reservation("other", 0.5).take()
    scripted.may_end.set()
    await call


@pytest.mark.parametrize("error", [RecordError("bad_request", "a secret"), Unusable("a secret", hint="my secret")])
async def test_no_secret_is_in_what_it_raises(error: RecordError | RunStopped) -> None:
    with pytest.raises(type(error)) as caught:
        await admitted(Scripted(error)).complete(PROMPT)
    assert str(caught.value) == "a [redacted]"
    assert getattr(caught.value, "hint", "my [redacted]") == "my [redacted]"


@WITH_AND_WITHOUT
async def test_once_a_run_stops_nothing_is_sent_and_what_was_is_let_arrive(limited: bool) -> None:
    scripted, drain = Scripted(ANSWER), Drain()
    scripted.may_end.clear()
    limits = Limits(in_flight=1) if limited else None
    model = admitted(scripted, limits, CostBudget(1000.0))
    with calling(Call(drain=drain)):
        sent = asyncio.create_task(model.complete(PROMPT))
        await asyncio.sleep(0.01)
        assert drain.under_way == 1
        waiting = [asyncio.create_task(model.complete(PROMPT)) for _ in range(2 if limited else 0)]
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(drain.drain(20))
        await asyncio.sleep(0.01)
        late = asyncio.create_task(model.complete(PROMPT))
        scripted.may_end.set()
        assert await sent == ANSWER
        await draining
    await asyncio.sleep(0.05)
    assert (scripted.asked, drain.under_way) == (1, 0)
    assert model.budget.reservation("other", 991.0).take(), "those that wait hold nothing"
    assert limits is None or limits.in_flight == 0
    for task in (*waiting, late):
        assert not task.done()
        task.cancel()
    await asyncio.gather(*waiting, late, return_exceptions=True)
