"""Every draw has a seed of its own, made of what it is asked for: the same at each start and in each version.

A seed is part of a journal's key. Were one made of less, draws that should differ would be one; were it made of more or
in another way, what a work_dir has paid for would be asked for again.
"""

from collections.abc import Iterable
from contextlib import suppress

import pytest

from tests.contexts import PROMPTS, context
from weak2wise.config import AnswerPolicy, Params
from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion, Prompt
from weak2wise.process_pool import KillablePool
from workers.filter import Filter
from workers.generate import Generate
from workers.judge import Judge
from workers.records import Asked, Candidate, Question, Score, Scored, Traced, Unsolved
from workers.scorers import StepMask
from workers.seeds import seed_of
from workers.select import Select
from workers.truncate import Truncate

FILTER, JUDGE, TRUNCATE = 417549341, 23086331, 1057493407
GENERATE = [595473614, 920631523, 1709269498, 1722709045]
"""By model and sample."""
STEPMASK = [
    636163302,
    1503066586,
    1944393592,
    92599641,
    299454237,
    956850044,
    374035525,
    1642743562,
    1664166158,
    1068840385,
    939906085,
    745210540,
]
"""By candidate, mask level and vote."""


class Recording:
    """A model that says the same each time, and remembers the seeds that it was given."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.seeds: list[int] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.seeds.append(prompt.seed)
        return Completion(text=self.text)


def question(row: int) -> Question:
    return Question(row=row, id=None, text="What is 2 + 3?", answer="5")


def candidate(name: str, sample: int) -> Candidate:
    return Candidate(
        m_strong=name,
        sample=sample,
        step_reasoning="",
        step_list=(f"## Step of {name} {sample}\n{'x' * 40}", "## Final Answer\n5"),
        normal="So it is 5.",
        normal_is_own=True,
    )


def judging(model: Recording) -> Judge:
    return Judge(prompts=PROMPTS, pool=KillablePool(), model=model, mode="llm")


async def filtered(rows: Iterable[int], seed: int) -> tuple[list[int], list[int]]:
    """The seeds of the weak LLM's attempts and of their verdicts."""
    weak, judge = Recording("About five"), Recording("No")
    for row in rows:
        await Filter(weak, judging(judge), Params(seed=seed))(Asked(question=question(row)))
    return weak.seeds, judge.seeds


async def generated(rows: Iterable[int], seed: int, text: str = "## Final Answer\n5") -> list[int]:
    """Two samples of two models for each row."""
    model = Recording(text)
    policy = AnswerPolicy(no_final_answer="retry", retries=1)
    params = Params(seed=seed, samples_per_model=2, outcomes=policy, min_candidates=1)
    rule = Judge(prompts=PROMPTS, pool=KillablePool(), mode="rule")
    generate = Generate({"one": model, "two": model}, rule, PROMPTS, params)
    for row in rows:
        with suppress(RecordError):  # no trace with an answer, in the end
            await generate(Unsolved(question=question(row), weak_attempt=None))
    return model.seeds


async def masked(rows: Iterable[int], seed: int) -> tuple[list[int], list[int]]:
    """Two votes at two levels for each of three candidates, and the verdicts."""
    weak, judge = Recording("About five"), Recording("No")
    params = Params(seed=seed, n_mask=2, majority=2, scoring="exhaustive")
    worker = StepMask(context(params, weak, judging(judge)))
    for row in rows:
        candidates = (candidate("one", 0), candidate("one", 1), candidate("two", 0))
        await worker(Traced(question=question(row), candidates=candidates))
    return weak.seeds, judge.seeds


async def selected(rows: Iterable[int], seed: int) -> list[int]:
    """The cut of each row's winner."""
    model = Recording("It is 5.")
    truncate = Truncate(prompts=PROMPTS, model=model, mode="anchor", temperature=0.1)
    select = Select(truncate, StepMask(context(Params(n_mask=1))), seed)
    for row in rows:
        winner = candidate("one", 0)
        await select(Scored(question=question(row), candidates=(winner,), scores=(Score(score=1.0, s_list=(1,)),)))
    return model.seeds


async def test_no_two_draws_have_the_same_seed() -> None:
    """Whatever they differ in: row, model, sample, mask level, vote, draw, and ``params.seed``."""
    drawn: list[int] = []
    for seed in (1, 2):
        drawn += (await filtered((3, 4), seed))[0]
        drawn += await generated((3, 4), seed)
        drawn += (await masked((3, 4), seed))[0]
        drawn += await selected((3, 4), seed)
    assert len(drawn) == 2 * (2 + 2 * 4 + 2 * 3 * 2 * 2 + 2)
    assert len(set(drawn)) == len(drawn)


async def test_an_answer_that_is_drawn_again_has_another_seed() -> None:
    first = await generated((3,), 1)
    again = await generated((3,), 1, "no steps")
    assert len(again) == len(set(again)) == 2 * len(first)
    assert set(first) < set(again)


async def test_verdicts_on_one_question_have_its_seed_and_another_question_another() -> None:
    """Equal attempts at one question are judged once, also by the journal: they are asked in the same words."""
    verdicts = [(await filtered((row,), 1))[1] + (await masked((row,), 1))[1] for row in (3, 4)]
    assert [len(set(seeds)) for seeds in verdicts] == [1, 1]
    assert verdicts[0] != verdicts[1]


async def test_seeds_are_those_of_the_first_version() -> None:
    weak, judge = await filtered((3,), 7)
    assert (weak, set(judge)) == ([FILTER], {JUDGE})
    assert await generated((3,), 7) == GENERATE
    assert sorted((await masked((3,), 7))[0]) == sorted(STEPMASK)
    assert await selected((3,), 7) == [TRUNCATE]


@pytest.mark.parametrize("parts", [("a", 1), ("a1",), ("a", "1", ""), (1, "a")])
def test_a_seed_is_31_bits_which_every_provider_takes(parts: tuple[str | int, ...]) -> None:
    assert 0 <= seed_of(*parts) < 1 << 31


def test_parts_do_not_run_into_each_other() -> None:
    assert len({seed_of("ab", "c"), seed_of("a", "bc"), seed_of("abc"), seed_of(1, 11), seed_of(11, 1)}) == 5
