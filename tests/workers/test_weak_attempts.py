"""What the filter and Step-Mask tell the judge of the weak LLM's attempts."""

import pytest

from tests.contexts import PROMPTS, context
from weak2wise.config import Params
from weak2wise.llm.model import Completion, Prompt
from weak2wise.process_pool import KillablePool
from weak2wise.worker import Drop
from workers.filter import Filter
from workers.judge import Judge
from workers.records import Asked, Candidate, Question, Traced
from workers.scorers import StepMask

QUESTION = Question(row=1, id=None, text="What is 2 + 3?", answer="5")


class Weak:
    """A weak LLM that gives its completions in turn, the last one for ever."""

    def __init__(self, *completions: Completion) -> None:
        self.completions = list(completions)

    async def complete(self, _: Prompt, /) -> Completion:
        return self.completions.pop(0) if len(self.completions) > 1 else self.completions[0]


def said(text: str, finish_reason: str) -> Completion:
    return Completion(text=text, finish_reason=finish_reason)


def rule() -> Judge:
    return Judge(prompts=PROMPTS, pool=KillablePool(), mode="rule")


@pytest.mark.parametrize(("finish_reason", "by"), [("length", "rule"), ("repetition", "rule"), ("stop", "rule_unsure")])
async def test_an_attempt_without_an_answer_is_wrong_for_certain_if_it_was_cut_off(finish_reason: str, by: str) -> None:
    weak = Weak(said("First we add", finish_reason))
    judge = rule()
    assert not isinstance(await Filter(weak, judge, Params(seed=1))(Asked(question=QUESTION)), Drop)
    assert judge.counts == {by: 1}


async def test_the_attempt_that_stands_for_all_brings_its_own_ending() -> None:
    candidate = Candidate(
        m_strong="m", sample=0, step_reasoning="", step_list=("## Add", "## Answer"), normal="n", normal_is_own=True
    )
    weak = Weak(said("The answer is 6.", "length"), said("The answer is 5.", "stop"), said("The answer is 5.", "stop"))
    judge = rule()
    scoring = StepMask(context(Params(n_mask=1, majority=3, scoring="exhaustive", seed=1), weak, judge))
    (score,) = await scoring(Traced(question=QUESTION, candidates=(candidate,)))
    assert score.s_list == (1,)
    assert judge.counts == {"rule": 1}
