"""Who wins a tie: the shortest reasoning, and none without thinking of its own against one that has it."""

from dataclasses import replace

import pytest

from tests.contexts import context
from weak2wise.config import Params
from weak2wise.llm.model import Completion, Prompt
from workers.records import Candidate, Question, Score, Traced
from workers.scorers.stepmask import Scoring, StepMask
from workers.select import select


class Solver:
    """A weak LLM that reaches the answer whatever it is shown."""

    async def complete(self, _: Prompt, /) -> Completion:
        return Completion(text=r"\boxed{5}")


def tied(*traces: tuple[str, str | None]) -> tuple[Candidate, ...]:
    """Candidates by their step reasoning and their own thinking, ``None`` where they have none."""
    return tuple(
        Candidate(
            m_strong="m",
            sample=sample,
            step_reasoning=steps,
            step_list=(f"## Step of {sample}",),
            normal=steps if own is None else own,
            normal_is_own=own is not None,
        )
        for sample, (steps, own) in enumerate(traces)
    )


@pytest.mark.parametrize(
    ("candidates", "by_first_rules", "winner"),
    [
        (tied(("a b c", None), ("a b", None), ("a", None)), 0, 2),
        (tied(("a b", None), ("a b", None)), 0, 0),
        (tied(("a", None), ("a b", "long own thinking")), 1, 1),
        (tied(("a", None), ("a b", "own thinking"), ("a b c", "own")), 2, 2),
    ],
)
@pytest.mark.parametrize("scoring", ["race", "exhaustive"])
async def test_among_ties_the_shortest_wins_and_none_without_thinking_against_one_with_it(
    candidates: tuple[Candidate, ...], by_first_rules: int, winner: int, scoring: Scoring
) -> None:
    question = Question(row=1, id=None, text="q", answer="5")
    for rules, expected in ((1, by_first_rules), (2, winner)):
        scorer = StepMask(replace(context(Params(scoring=scoring), Solver()), rules=rules))
        scores = await scorer(Traced(question=question, candidates=candidates))
        assert select(candidates, scores, scorer)[0].sample == expected


@pytest.mark.parametrize("first", [0, 1])
def test_a_tie_is_one_by_the_decimals_that_beta_is_written_with(first: int) -> None:
    """With 0.3 as the nearest binary fraction the first four levels and the next three would not be worth the same."""
    rows = [(1, 1, 1, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 1, 1, 0)]
    scores = [Score(score=0.5, s_list=row) for row in (rows[first], rows[1 - first])]
    scorer = StepMask(context(Params(n_mask=8, beta=0.3)))
    for candidates, winner in ((tied(("a", "b"), ("a", "b c")), 0), (tied(("a", "b c"), ("a", "b")), 1)):
        assert select(candidates, scores, scorer)[0].sample == winner
