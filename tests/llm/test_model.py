"""A call and its answer: what they are where nobody says otherwise, and when an answer says nothing or was cut off."""

import asyncio

import msgspec
import pytest

from weak2wise.llm.call import Call, calling, current_call
from weak2wise.llm.errors import Down, NoCapacity, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.model import Completion, Prompt, Usage


@pytest.mark.parametrize(
    ("text", "reasoning", "nothing"),
    [("", None, True), (" \n", "\t ", True), ("", "why", False), ("4", None, False), ("4", "", False)],
)
def test_an_answer_says_nothing_if_neither_its_text_nor_its_thinking_does(
    text: str, reasoning: str | None, nothing: bool
) -> None:
    assert Completion(text=text, reasoning=reasoning).says_nothing is nothing


@pytest.mark.parametrize(
    ("reason", "cut"),
    [("length", True), ("repetition", True), ("stop", False), ("content_filter", False), (None, False)],
)
def test_an_answer_was_cut_off_if_a_limit_or_a_repetition_ended_it(reason: str | None, cut: bool) -> None:
    assert Completion(text="4", finish_reason=reason).cut_off is cut


def test_what_is_not_reported_is_nothing_at_the_ordinary_price() -> None:
    usage = Completion(text="4").usage
    assert usage == Usage(0, 0, 0, estimated=False, price_factor=1.0, tier="")
    assert (usage.tokens, Usage(3, 4, 2).tokens) == (0, 7)
    assert msgspec.json.encode(usage) == b"{}"
    assert Prompt(messages=(), temperature=0.6, seed=1) == Prompt(messages=(), temperature=0.6, seed=1, sample=0)


async def test_outside_of_a_run_a_call_waits_and_charges_nobody() -> None:
    call = current_call()
    assert (call.row, call.failures, call.waits, call.role) == (0, 0, True, "")
    assert (call.drain.started, call.drain.under_way) == (False, 0)
    await call.charge(Usage(1, 1))


async def test_a_call_s_context_holds_inside_and_in_tasks_that_begin_inside() -> None:
    async def row() -> int:
        await asyncio.sleep(0)
        return current_call().row

    with calling(Call(row=1)):
        first = asyncio.create_task(row())
        with calling(Call(row=2)):
            second = asyncio.create_task(row())
        assert current_call().row == 1
    assert current_call().row == 0
    assert (await first, await second) == (1, 2)


def test_what_is_known_of_an_error_unless_its_reply_says_more() -> None:
    for error in (
        Transient("timeout", "no", endpoint="e"),
        RateLimited("no", endpoint="e", retry_after=None),
        NoCapacity("no", endpoint="e", retry_after=None),
        Down("no", endpoint="e"),
        Rejected("bad_request", "no", endpoint="e"),
    ):
        assert (error.usage, error.characters, error.unheard, error.attempts) == (None, 0, False, 0)
        assert error.may_pass is not isinstance(error, Rejected)
    assert Transient("timeout", "no", endpoint="e").retry_after is None
    stop = Unusable("no", hint="pay")
    assert (stop.usage, stop.characters) == (None, 0)
    assert (Down("no", endpoint="e").kind, RateLimited("no", endpoint="e", retry_after=3).retry_after) == (
        "endpoint_down",
        3,
    )
