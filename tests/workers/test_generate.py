"""Strong traces: marked where they end somewhere else than at the answer, and kept from scoring if so configured."""

from collections.abc import Callable

import pytest

from tests.contexts import context
from weak2wise.config import Params, PromptTexts
from weak2wise.errors import RecordError
from weak2wise.llm.errors import Rejected, Transient
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.process_pool import KillablePool
from weak2wise.worker import Drop, Partial
from workers.answer_policy import flaws
from workers.answers import warm_up
from workers.generate import Generate
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Candidate, Question, Score, Traced, Unsolved
from workers.score import ScoreCandidates
from workers.scorers import Scorer

PROMPTS = Prompts.of(PromptTexts())


class Saying:
    """A strong model that always says the same."""

    def __init__(self, conclusion: str, finish_reason: str = "stop") -> None:
        self.text = f"## Step 1: add\nIt grows.\n\n## Final Answer\n{conclusion}"
        self.finish_reason = finish_reason

    async def complete(self, _prompt: Prompt, /) -> Completion:
        return Completion(text=self.text, reasoning="Let me think.", finish_reason=self.finish_reason)


class NoCalls:
    """A judge's model that must not be asked."""

    async def complete(self, prompt: Prompt, /) -> Completion:
        raise AssertionError(prompt)


async def traced(*conclusions: str, answer: str) -> Traced:
    """One candidate for each conclusion, marked."""
    pool = KillablePool(warm_up=warm_up)
    generate = Generate(
        {f"strong-{number}": Saying(conclusion) for number, conclusion in enumerate(conclusions)},
        Judge(prompts=PROMPTS, pool=pool, mode="llm", model=NoCalls()),
        PROMPTS,
        Params(samples_per_model=1),
    )
    question = Question(row=1, id=None, text="What is 2 + 2?", answer=answer)
    try:
        made = await generate(Unsolved(question=question, weak_attempt=None))
    finally:
        await pool.close()
    assert isinstance(made, Traced)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conclusion", "answer", "marks"),
    [
        (r"\boxed{4}", "4", ()),
        (r"\boxed{5}", "4", ("unfaithful",)),
        (r"\boxed{\frac{1}{2}}", "0.5", ()),
        (r"\boxed{\frac{x}{3}}", r"\frac{x}{2}", ("unfaithful",)),
        ("It cannot be told.", "4", ()),
        ("The answer is Paris.", "Paris, the capital of France", ()),
    ],
)
async def test_a_trace_is_unfaithful_only_where_the_rule_is_sure(
    conclusion: str, answer: str, marks: tuple[str, ...]
) -> None:
    """By the rule in every judge mode: the judge model is not asked."""
    (candidate,) = (await traced(conclusion, answer=answer)).candidates
    assert candidate.marks == marks


async def test_unfaithful_candidates_are_kept_from_scoring_and_a_question_without_others_is_dropped() -> None:
    seen: list[Candidate] = []

    class Zero(Scorer):
        async def __call__(self, traced: Traced, /) -> list[Score]:
            seen.extend(traced.candidates)
            return [Score(score=0.0)] * len(traced.candidates)

    step = ScoreCandidates(Zero(context(Params())), faithful_only=True)
    await step(await traced(r"\boxed{5}", r"\boxed{4}", answer="4"))
    assert [candidate.m_strong for candidate in seen] == ["strong-1"]
    assert await step(await traced(r"\boxed{5}", answer="4")) == Drop("unfaithful")


@pytest.mark.parametrize(
    ("finish_reason", "marks"), [("stop", ()), ("length", ("length",)), ("repetition", ("length",))]
)
async def test_a_trace_that_a_limit_or_a_loop_ended_is_marked_as_cut_off(
    finish_reason: str, marks: tuple[str, ...]
) -> None:
    """An embedded engine ends an answer that only repeats itself."""
    completion = await Saying("4", finish_reason).complete(Prompt(messages=(), temperature=0.6, seed=0))
    assert flaws(completion) == marks


class Failing:
    """A strong model that fails every time."""

    def __init__(self, error: RecordError) -> None:
        self.error = error

    async def complete(self, _prompt: Prompt, /) -> Completion:
        raise self.error


def refused() -> RecordError:
    return Rejected("bad_request", "a: HTTP 400", endpoint="a")


def down() -> RecordError:
    return Transient("timeout", "b: no answer", endpoint="b")


@pytest.mark.parametrize("least", [None, 1])
@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ((refused, down), "timeout"),
        ((down, refused), "timeout"),
        ((refused, refused, down), "timeout"),
        ((refused, refused), "bad_request"),
    ],
)
async def test_a_question_that_may_still_succeed_fails_for_what_may_pass(
    errors: tuple[Callable[[], RecordError], ...], kind: str, least: int | None
) -> None:
    """Whichever model failed first: it is tried again, and fails for good only in the last round."""
    models: dict[str, Model] = {f"m{number}": Failing(error()) for number, error in enumerate(errors)}
    models["good"] = Saying(r"\boxed{4}")
    generate = Generate(
        models,
        Judge(prompts=PROMPTS, pool=KillablePool(), mode="rule"),
        PROMPTS,
        Params(samples_per_model=1, min_candidates=least),
    )
    unsolved = Unsolved(question=Question(row=1, id=None, text="What is 2 + 2?", answer="4"), weak_attempt=None)
    if least:
        made = await generate(unsolved)
        assert isinstance(made, Partial)
        assert made.because.kind == kind
        assert [candidate.m_strong for candidate in made.record.candidates] == ["good"]
    else:
        with pytest.raises(RecordError) as caught:
            await generate(unsolved)
        assert caught.value.kind == kind
