"""What counts as right, strictly and flexibly, for answers of every kind that a model gives."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from weak2wise.config import PromptTexts, Response
from weak2wise.llm.model import Completion, Prompt, Usage
from weak2wise.llm.thinking import split_thinking
from weak2wise.process_pool import KillablePool
from weak2wise.proof.evaluated import Answered, EvaluateSettings, QuestionResult, share
from weak2wise.proof.sampling import Samples
from workers.answers import warm_up
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Asked, Candidate, Golden, Question, Score
from workers.sft import Sft

PROMPTS = Prompts.of(PromptTexts())


class Says:
    """A model that says these texts in turn, its thinking split off as an endpoint does; ``asked`` are its prompts."""

    def __init__(self, *texts: str, finish_reason: str = "stop") -> None:
        self._texts: Iterator[str] = iter(texts)
        self._finish_reason = finish_reason
        self.asked: list[Prompt] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt)
        thinking, text = split_thinking(next(self._texts))
        return Completion(text=text, reasoning=thinking, finish_reason=self._finish_reason, usage=Usage(10, 7))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[KillablePool]:
    pool = KillablePool(warm_up=warm_up)
    yield pool
    await pool.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def judged(
    pool: KillablePool, model: Says, answer: str, *, samples: int = 1, judge: Says | None = None
) -> Answered:
    """The model's samples on one question."""
    settings = EvaluateSettings(samples=samples)
    question = Question(row=3, id=None, text="What is it?", answer=answer)
    judging = Judge(prompts=PROMPTS, pool=pool, model=judge)
    return await Samples(model, judging, settings.template(), settings)(Asked(question=question))


@pytest.mark.parametrize(
    ("said", "answer", "strict", "flexible"),
    [
        ("I add. \\boxed{42}", "42", True, True),
        ("I add. \\boxed{43}", "42", False, False),
        ("I add. The answer is 42.", "42", False, True),
        ("<think> six sevens </think> 42", "42", True, True),
        ("<think> six sevens </think> 43", "42", False, False),
        ("six sevens </think> 42", "42", True, True),
        ("<think> I know this city </think> Paris", "Paris", True, True),
        ("<think> I know this city </think> the city of Paris", "Paris", False, False),
        ("<think> halves </think> $\\frac{1}{2}$", "1/2", True, True),
        ("<think> halves </think> 0.5", "1/2", True, True),
        ("<think> it must be \\boxed{42}", "42", False, False),
        ("", "42", False, False),
        ("Six sevens.\n#### 42", "42", True, True),
        ("Six sevens.\n#### 42", "6 * 7 = <<6*7=42>>42\n#### 42", True, True),
        ("Paris", "Paris", True, True),
    ],
)
async def test_an_answer_is_read_strictly_and_flexibly(
    pool: KillablePool, said: str, answer: str, strict: bool, flexible: bool
) -> None:
    (sample,) = (await judged(pool, Says(said), answer)).samples
    assert (sample.strict, sample.flexible) == (strict, flexible)
    assert sample.tokens == 7


@pytest.mark.parametrize("answer", ["42", "Paris", "x = 3", "\\frac{3}{4}", "(B)", "3 apples", "6 * 7 = 42\n#### 42"])
async def test_a_model_that_says_our_own_training_data_is_right(pool: KillablePool, answer: str) -> None:
    """The response that ``Sft`` makes, whatever the data's reference answers look like."""
    trace = Candidate(m_strong="s", sample=0, step_reasoning="", step_list=(), normal="I try.", normal_is_own=True)
    question = Question(row=1, id=None, text="What is it?", answer=answer)
    golden = Golden(question=question, winner=trace, score=Score(score=1.0), truncated="I try.", cut_by="rule")
    row = await Sft(Response.parse("reference", ""))(golden)
    (sample,) = (await judged(pool, Says(row.response), answer)).samples
    assert sample.flexible
    assert sample.strict


@pytest.mark.parametrize("finish_reason", ["length", "repetition"])
async def test_what_was_cut_off_is_never_strictly_right(pool: KillablePool, finish_reason: str) -> None:
    """A box that is whole counts flexibly, as in a run; a bare number may have become a longer one."""
    said = ("So it is \\boxed{42}. Now I check", "<think> six sevens </think> 42")
    boxed, bare = (await judged(pool, Says(*said, finish_reason=finish_reason), "42", samples=2)).samples
    assert (boxed.strict, boxed.flexible, boxed.cut_off) == (False, True, True)
    assert (bare.strict, bare.flexible) == (False, False)


async def test_each_sample_has_a_seed_and_a_number_of_its_own(pool: KillablePool) -> None:
    model = Says(*["\\boxed{42}"] * 4)
    await judged(pool, model, "42", samples=4)
    assert [prompt.sample for prompt in model.asked] == [0, 1, 2, 3]
    assert len({prompt.seed for prompt in model.asked}) == 4
    assert {prompt.messages[0].content for prompt in model.asked} == {
        "What is it?\n\nWork through the problem step by step and write your final answer as \\boxed{answer}."
    }


async def test_a_judge_llm_is_asked_only_where_the_rule_is_not_sure(pool: KillablePool) -> None:
    said = ("\\boxed{42}", "She has them all in the end.", "\\boxed{41}")
    judge = Says("He is right.\nYes")
    samples = (await judged(pool, Says(*said), "42", samples=3, judge=judge)).samples
    assert [sample.flexible for sample in samples] == [True, True, False]
    assert [sample.strict for sample in samples] == [True, False, False]
    assert [sample.by for sample in samples] == ["rule", "llm", "rule"]
    assert len(judge.asked) == 1


async def test_without_a_judge_llm_what_is_not_sure_is_wrong_and_counted_as_undecided(pool: KillablePool) -> None:
    answered = await judged(pool, Says("She has them all in the end.", "\\boxed{42}"), "42", samples=2)
    result = QuestionResult.of(answered)
    assert (result.flexible, result.unsure) == ([False, True], [True, False])
    assert share([result], "unsure").value == 0.5


@pytest.mark.slow
async def test_what_is_strictly_right_is_flexibly_right(pool: KillablePool) -> None:
    said = ["42", "\\boxed{42}", "the answer is 42", "<answer>42</answer>", "It is 42, isn't it?", "#### 42", "4 2"]
    for sample in (await judged(pool, Says(*said), "42", samples=len(said))).samples:
        assert sample.flexible or not sample.strict
