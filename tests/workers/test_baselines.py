"""Scorers that ask nothing, or one bit: what Step-Mask is compared with."""

from collections import Counter

import pytest

from tests.contexts import context
from weak2wise.config import Params
from weak2wise.llm.model import Completion, Prompt
from workers.records import Candidate, Question, Traced
from workers.scorers import Scorer, scorer_named
from workers.scorers.masking import hint
from workers.select import select

STEPS = ("## Add\n2 + 2", "## Final Answer\n4")


def candidate(model: str, sample: int, words: int, *, own: bool = True, steps: tuple[str, ...] = STEPS) -> Candidate:
    text = " ".join(["word"] * words)
    return Candidate(
        m_strong=model, sample=sample, step_reasoning=text, step_list=steps, normal=text, normal_is_own=own
    )


def traced(*candidates: Candidate, row: int = 1) -> Traced:
    return Traced(question=Question(row=row, id=None, text="2 + 2?", answer="4"), candidates=candidates)


MIXED = traced(candidate("a", 0, 30), candidate("a", 1, 10), candidate("b", 0, 50), candidate("b", 1, 2, own=False))


async def winner(scorer: Scorer, record: Traced) -> Candidate:
    return select(record.candidates, await scorer(record), scorer)[0]


def named(name: str, seed: int = 0) -> Scorer:
    return scorer_named(name)(context(Params(seed=seed)))


@pytest.mark.parametrize(("name", "words"), [("first", 30), ("shortest", 10), ("longest", 50)])
async def test_the_first_the_shortest_and_the_longest_trace_win(name: str, words: int) -> None:
    assert (await winner(named(name), MIXED)).length == (0, words)


@pytest.mark.parametrize(("name", "words"), [("shortest", 3), ("longest", 9)])
@pytest.mark.parametrize("rules", [1, 2])
async def test_without_thinking_the_length_is_that_of_the_step_reasoning(name: str, words: int, rules: int) -> None:
    """Whatever the rules of the run: the first ones saw no length at all there in a tie."""
    scorer = named(name)
    object.__setattr__(scorer.context, "rules", rules)
    record = traced(*(candidate("a", at, n, own=False) for at, n in enumerate((5, 3, 9, 3, 9))))
    won = await winner(scorer, record)
    assert won.length == (1, words)
    assert won.sample in {1, 2}  # of two equal ones the earlier


@pytest.mark.slow
async def test_random_is_fair_and_depends_on_the_seed_alone() -> None:
    record = [traced(*(candidate("m", at, 5) for at in range(4)), row=row) for row in range(1, 1201)]
    first, again, other = named("random", seed=1), named("random", seed=1), named("random", seed=2)
    drawn = [(await winner(first, one)).sample for one in record]
    assert drawn == [(await winner(again, one)).sample for one in record]
    assert drawn != [(await winner(other, one)).sample for one in record]
    counts = Counter(drawn)
    assert all(240 < counts[at] < 360 for at in range(4)), counts  # 300 each, four standard deviations are 60


class Solves:
    """A weak LLM that reaches the answer if the hint is one of these."""

    def __init__(self, *hints: str) -> None:
        self.asked: list[str] = []
        self._hints = hints

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt.messages[0].content)
        right = any(text in self.asked[-1] for text in self._hints)
        return Completion(text="\\boxed{4}" if right else "\\boxed{5}")


def guiding(model: str, sample: int, words: int) -> Candidate:
    return candidate(model, sample, words, steps=(f"## Step of {model} {sample}\n2 + 2", "## Final Answer\n4"))


@pytest.mark.parametrize("scoring", ["race", "exhaustive"])
async def test_full_hint_asks_the_whole_trace_alone_and_success_wins(scoring: str) -> None:
    record = traced(guiding("a", 0, 3), guiding("a", 1, 8), guiding("a", 2, 5), candidate("a", 3, 1, steps=()))
    weak = Solves("of a 1", "of a 2")
    scorer = scorer_named("full_hint")(context(Params(scoring=scoring), weak))  # type: ignore[arg-type]
    scores = await scorer(record)
    chosen, score = select(record.candidates, scores, scorer)
    assert (chosen.sample, score.score, score.s_list, score.is_bound) == (2, 1.0, (1,), False)
    whole = [scorer.context.prompts.guided("2 + 2?", hint(c.step_list, 0, 6)) for c in record.candidates[:3]]
    assert sorted(weak.asked) == sorted([whole[0], whole[2]] if scoring == "race" else whole)
    assert (scores[3].score, scores[3].s_list) == (0.0, ())
    assert scores[1].is_bound == (scoring == "race")
    assert [scorer.explain(score) for score in scores] == ["✗", "·" if scoring == "race" else "✓", "✓", "no steps"]


async def test_full_hint_takes_its_attempts_from_what_step_mask_has_asked() -> None:
    """Prompt, seed and sample are the same, so that a journal has the answer."""

    class Remembers(Solves):
        def __init__(self) -> None:
            super().__init__()
            self.prompts: list[Prompt] = []

        async def complete(self, prompt: Prompt, /) -> Completion:
            self.prompts.append(prompt)
            return await super().complete(prompt)

    by_name = {}
    for name in ("stepmask", "full_hint"):
        weak = Remembers()
        await scorer_named(name)(context(Params(scoring="exhaustive", majority=2), weak))(traced(guiding("a", 0, 3)))
        by_name[name] = weak.prompts
    assert by_name["full_hint"]
    assert all(prompt in by_name["stepmask"] for prompt in by_name["full_hint"])


@pytest.mark.parametrize("beta", [0.0, 1.0])
async def test_full_hint_does_not_depend_on_beta(beta: float) -> None:
    record = traced(guiding("a", 0, 3), guiding("a", 1, 8))
    scorer = scorer_named("full_hint")(context(Params(beta=beta), Solves("of a 1")))
    assert (await winner(scorer, record)).sample == 1
