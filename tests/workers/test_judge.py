"""The judge: who is asked, what counts as a verdict, and what happens when nobody can tell."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from weak2wise.config import PromptTexts
from weak2wise.errors import ConfigError, RecordError
from weak2wise.llm.errors import Rejected
from weak2wise.llm.model import Completion, Prompt
from weak2wise.process_pool import KillablePool, PoolCrashed, PoolTimeout
from workers.answers import warm_up
from workers.judge import Given, Judge, Mode, Verdict, yes_or_no
from workers.prompts import Prompts

PROMPTS = Prompts.of(PromptTexts(pjudge="Q={question} A={attempt} R={answer}"))


class Scripted:
    """A model that gives its replies in turn and remembers what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[Prompt] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt)
        return Completion(text=self.replies.pop(0))


class Refusing:
    """A model that answers nothing, in its own time."""

    calls = 0

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.calls += 1
        await asyncio.sleep(0.01)
        raise Rejected("content_filter", f"no: {prompt.messages[0].content}", endpoint="judge")


class Slow(Scripted):
    """A scripted model that lets others run before it answers."""

    async def complete(self, prompt: Prompt, /) -> Completion:
        await asyncio.sleep(0.01)
        return await super().complete(prompt)


class Failing(KillablePool):
    """A pool whose every call fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.calls = 0
        self.time_limit = 0.0

    async def run(self, *_: Any, time_limit: float) -> Any:
        self.calls += 1
        self.time_limit = time_limit
        await asyncio.sleep(0)
        raise self.error


@pytest.fixture
async def pool() -> AsyncIterator[KillablePool]:
    async with KillablePool(warm_up=warm_up) as running:
        yield running


def judge(model: Scripted | Refusing | None, pool: KillablePool | None = None, mode: Mode = "cascade") -> Judge:
    return Judge(prompts=PROMPTS, pool=pool or KillablePool(), model=model, mode=mode)


async def test_where_the_rule_is_sure_nobody_is_asked() -> None:
    model = Scripted()
    assert await judge(model)("q", r" \boxed{5} ", "5", seed=1) == Verdict(correct=True, by="rule")
    assert await judge(model)("q", r"\boxed{6}", "5", seed=1) == Verdict(correct=False, by="rule")
    assert await judge(model)("q", "  ", "5", seed=1) == Verdict(correct=False, by="rule")
    assert model.asked == []


@pytest.mark.slow
async def test_the_parsing_tier_decides_before_the_model(pool: KillablePool) -> None:
    model = Scripted()
    decide = judge(model, pool)
    assert await decide("q", r"\boxed{\frac{1}{\sqrt3}}", r"\frac{\sqrt{3}}{3}", seed=1) == Verdict(True, "rule")
    assert await decide("q", r"\boxed{\sqrt3}", r"\frac{\sqrt{3}}{3}", seed=1) == Verdict(False, "rule")
    assert model.asked == []


async def test_where_the_rule_is_not_sure_the_model_decides() -> None:
    model = Scripted("They agree.\n\nYes")
    verdict = await judge(model)("q", "  About a dozen, roughly  ", "12", seed=7)
    assert verdict == Verdict(correct=True, by="llm")
    (prompt,) = model.asked
    assert [message.role for message in prompt.messages] == ["user"]
    assert prompt.messages[0].content == "Q=q A=About a dozen, roughly R=12"
    assert (prompt.temperature, prompt.seed, prompt.sample) == (0.1, 7, 0)


async def test_the_model_is_asked_at_the_temperature_that_is_configured() -> None:
    model = Scripted("Yes")
    await Judge(prompts=PROMPTS, pool=KillablePool(), model=model, temperature=0.7)("q", "prose", "5", seed=7)
    assert [prompt.temperature for prompt in model.asked] == [0.7]


async def test_mode_llm_always_asks() -> None:
    model = Scripted("No")
    assert await judge(model, mode="llm")("q", r"\boxed{5}", "5", seed=1) == Verdict(correct=False, by="llm")
    assert len(model.asked) == 1


@pytest.mark.parametrize("mode", ["rule", "cascade"])
async def test_without_a_model_doubt_counts_as_no(mode: Mode) -> None:
    verdict = await judge(None, mode=mode)("q", "No idea", "5", seed=1)
    assert verdict == Verdict(correct=False, by="rule_unsure")


async def test_mode_rule_asks_no_model_even_if_there_is_one() -> None:
    model = Scripted()
    assert (await judge(model, mode="rule")("q", "No idea", "5", seed=1)).by == "rule_unsure"
    assert model.asked == []


async def test_an_unclear_reply_is_asked_for_once_more() -> None:
    model = Scripted("Hard to say.", "yes.")
    assert await judge(model)("q", "prose", "5", seed=7) == Verdict(correct=True, by="llm")
    first, second = model.asked
    assert first.messages == second.messages
    assert (first.sample, first.seed) == (0, 7)
    assert (second.sample, second.seed) == (1, 8), "both are in the journal's keys"


async def test_two_unclear_replies_are_a_no() -> None:
    verdict = await judge(Scripted("Maybe", ""))("q", "prose", "5", seed=7)
    assert verdict == Verdict(correct=False, by="llm_unclear")


@pytest.mark.parametrize("error", [PoolTimeout("late"), PoolCrashed("gone")])
async def test_a_lost_worker_is_a_doubt_and_no_verdict(error: Exception) -> None:
    model = Scripted("Yes")
    verdict = await judge(model, Failing(error))("q", r"\boxed{\sqrt{5}}", r"\sqrt{7}", seed=1)
    assert verdict == Verdict(correct=True, by="llm")


async def test_a_pair_that_no_process_could_compare_is_not_tried_again() -> None:
    failing = Failing(PoolTimeout("late"))
    decide = judge(Scripted("Yes", "Yes"), failing)
    for attempt in (r"\boxed{\sqrt{5}}", r"Let me see. It is \boxed{\sqrt{5}}."):
        assert (await decide("q", attempt, r"\sqrt{7}", seed=1)).by == "llm"
    assert (failing.calls, failing.time_limit) == (1, 2.0)


@pytest.mark.parametrize(("attempt", "by"), [("About five", "llm"), (r"\boxed{5}", "rule")])
async def test_no_process_parses_where_that_would_tell_nothing(attempt: str, by: str) -> None:
    failing = Failing(PoolTimeout("late"))
    assert (await judge(Scripted("Yes"), failing)("q", attempt, "5", seed=1)).by == by
    assert failing.calls == 0


async def test_what_is_being_judged_is_not_judged_again() -> None:
    model = Slow("Yes")
    decide = judge(model)
    given: Given = {}
    verdicts = await asyncio.gather(*(decide("q", "prose", "5", seed=1, given=given) for _ in range(6)))
    assert set(verdicts) == {Verdict(correct=True, by="llm")}
    assert (len(model.asked), decide.counts) == (1, {"llm": 6})


async def test_who_waits_for_a_verdict_that_never_comes_judges_for_itself() -> None:
    model = Slow("Yes")
    decide = judge(model)
    given: Given = {}
    first = asyncio.create_task(decide("q", "prose", "5", seed=1, given=given))
    others = [asyncio.create_task(decide("q", "prose", "5", seed=1, given=given)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    others[0].cancel()  # one that only waited takes nothing away
    assert [verdict.by for verdict in await asyncio.gather(*others[1:])] == ["llm", "llm"]
    assert (len(model.asked), decide.counts) == (1, {"llm": 2})


async def test_a_verdict_that_cannot_be_given_is_asked_for_once_by_all_who_wait_for_it() -> None:
    """Each of its calls may take all its retries; later attempts ask anew."""
    model = Refusing()
    decide = judge(model)
    given: Given = {}
    for calls in (1, 2):
        waiting = (decide("q", "prose", "5", seed=1, given=given) for _ in range(12))
        failures = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(failure) for failure in failures] == [Rejected] * 12
        assert (model.calls, given) == (calls, {})


async def test_an_attempt_cut_off_before_its_answer_needs_no_model() -> None:
    model = Scripted("No", "Yes")
    decide = judge(model)
    given: Given = {}
    cut = await decide("q", "First we add", "5", seed=1, cut_off=True, given=given)
    whole = await decide("q", "First we add", "5", seed=1, given=given)
    assert (cut.by, whole.by) == ("rule", "llm")
    assert (await judge(model, mode="llm")("q", "First we add", "5", seed=1, cut_off=True)).by == "llm"
    assert (await judge(None)("q", "The answer is 5", "5", seed=1, cut_off=True)).by == "rule_unsure"


@pytest.mark.parametrize(
    ("attempt", "needs_none", "known"),
    [
        (r"\boxed{5}", True, [Verdict(True, "rule")]),
        (r"\boxed{6}", True, [Verdict(False, "rule")]),
        ("  ", True, [Verdict(False, "rule")]),
        ("About five", False, []),
    ],
)
async def test_what_needs_no_call_is_known_from_then_on(attempt: str, needs_none: bool, known: list[Verdict]) -> None:
    model, given = Scripted("No"), Given()
    decide = judge(model)
    assert await decide.needs_no_call(attempt, "5", cut_off=False, given=given) is needs_none
    assert [verdict.result() for verdict in given.values()] == known
    by = (await decide("q", attempt, "5", seed=1, given=given)).by
    assert by == ("rule" if needs_none else "llm")


async def test_a_clear_box_is_judged_by_itself_except_where_the_model_is_asked_every_time() -> None:
    attempt = "We count them.\n\n\\boxed{\\text{a dozen eggs}}"
    shown = []
    for mode in ("cascade", "llm"):
        model = Scripted("Yes")
        await judge(model, mode=mode)("q", attempt, "twelve", seed=1)
        shown.append(model.asked[0].messages[0].content)
    assert shown == [
        "Q=q A=The final answer is \\boxed{\\text{a dozen eggs}}. R=twelve",
        f"Q=q A={attempt} R=twelve",
    ]


async def test_a_judge_that_refuses_condemns_the_record() -> None:
    with pytest.raises(RecordError):
        await judge(Refusing())("q", "prose", "5", seed=1)


def test_mode_llm_needs_a_model() -> None:
    with pytest.raises(ConfigError, match=r"judge_mode.*models\.judge"):
        judge(None, mode="llm")


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Yes", True),
        ("no", False),
        ("Reasons, reasons.\nNO.\n\n", False),
        ("**Yes**", True),
        ('"Yes."', True),
        ("No\nBut then: Yes", None),
        ("Yes, it is", None),
        ("I say no\nYES", True),
        ("Yes\nNo", False),
        ("Yes No", None),
        ("", None),
        ("\n \n", None),
    ],
)
def test_the_verdict_is_the_last_line_and_nothing_else(reply: str, verdict: bool | None) -> None:
    assert yes_or_no(reply) is verdict


@pytest.mark.parametrize("cut_off", [(True, False), (False, True), (True, True)])
async def test_a_boxed_answer_is_judged_once_whether_or_not_its_attempt_was_cut_off_behind_it(
    cut_off: tuple[bool, bool],
) -> None:
    """Only the box is judged, and it is whole."""
    model = Scripted("Yes")
    decide = judge(model)
    given: Given = {}
    attempts = (r"So it is \boxed{about a dozen}. Now let me", r"Hence \boxed{about a dozen}. Then I che")
    for attempt, cut in zip(attempts, cut_off, strict=True):
        assert (await decide("q", attempt, "12", seed=1, cut_off=cut, given=given)).correct
        assert await decide.needs_no_call(attempt, "12", cut_off=not cut, given=given)
    assert len(model.asked) == 1


async def test_memory_of_pairs_that_no_process_could_compare_is_bounded() -> None:
    """The last thousand at most are remembered, the latest surely."""
    failing = Failing(PoolTimeout("late"))
    decide = judge(None, failing)

    async def tried_again(number: int) -> bool:
        before = failing.calls
        assert await decide.rule(rf"\boxed{{\sqrt{{{number}}}}}", r"\sqrt{77}") is None
        return failing.calls > before

    for number in range(1000, 2000):
        assert await tried_again(number)
    assert not await tried_again(1000)
    assert await tried_again(2000)
    assert not await tried_again(2000)
    assert await tried_again(1000), "now it is forgotten"


@pytest.mark.parametrize(
    ("mode", "has_model", "prose", "boxed"),
    [
        ("cascade", True, False, True),
        ("cascade", False, True, True),
        ("rule", True, True, True),
        ("llm", True, False, False),
    ],
)
async def test_no_call_is_needed_where_no_model_is_asked(mode: Mode, has_model: bool, prose: bool, boxed: bool) -> None:
    decide = judge(Scripted() if has_model else None, mode=mode)
    for attempt, expected in (("prose", prose), (r"\boxed{5}", boxed)):
        assert await decide.needs_no_call(attempt, "5", cut_off=False, given={}) is expected
