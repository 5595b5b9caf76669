"""Step 3: how much of a trace can be masked until the weak LLM no longer reaches the answer (paper, section 3.3)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weak2wise.llm.model import Message, Model, Prompt
from workers.answers import final_answer, normalised
from workers.fanout import fan_out
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Candidate, Question, Score, Scored, Traced
from workers.scoring import Normalization, hint, score
from workers.seeds import seed_of

TEMPERATURE = 0.6


@dataclass(frozen=True)
class StepMask:
    """Scores every candidate at every one of ``n`` mask levels, with ``votes`` attempts per level."""

    weak: Model
    judge: Judge
    prompts: Prompts
    n: int
    votes: int
    beta: float
    normalization: Normalization
    seed: int

    async def __call__(self, traced: Traced) -> Scored:
        """Score all candidates of one question."""
        scores = await fan_out(self._score(traced.question, candidate) for candidate in traced.candidates)
        return Scored(question=traced.question, candidates=traced.candidates, scores=tuple(scores))

    async def _score(self, question: Question, candidate: Candidate) -> Score:
        levels = range(self.n) if candidate.step_list else ()
        bits = await fan_out(self._bit(question, candidate, level) for level in levels)
        return score(bits, beta=self.beta, normalization=self.normalization)

    async def _bit(self, question: Question, candidate: Candidate, level: int) -> int:
        """1 if the weak LLM reaches the answer with the trace masked at this level, else 0."""
        messages = (Message("user", self.prompts.guided(question.text, hint(candidate.step_list, level, self.n))),)
        draw = (self.seed, question.row, candidate.m_strong, candidate.sample, level)
        attempts = await fan_out(
            self._attempt(Prompt(messages=messages, temperature=TEMPERATURE, seed=seed_of(*draw, vote), sample=vote))
            for vote in range(self.votes)
        )
        verdict = await self.judge(
            question.text, majority(attempts), question.answer, seed=seed_of(self.seed, question.row, "judge")
        )
        return int(verdict.correct)

    async def _attempt(self, prompt: Prompt) -> str:
        return (await self.weak.complete(prompt)).text.strip()


def majority(attempts: Sequence[str]) -> str:
    """The attempt that stands for all: the earliest of the largest group with one final answer.

    Attempts without a final answer form no group; where no attempt has one, the first stands.
    """
    if len(attempts) == 1:
        return attempts[0]
    answers = [None if (found := final_answer(a)) is None else normalised(found) for a in attempts]
    groups = Counter(a for a in answers if a is not None)
    if not groups:
        return attempts[0]
    most = max(groups.values())
    return next(t for t, a in zip(attempts, answers, strict=True) if a is not None and groups[a] == most)
