"""Step 1: drop the questions that the weak LLM already solves (paper, section 3.1)."""

from dataclasses import dataclass

from weak2wise.config import Params
from weak2wise.llm.model import Message, Model, Prompt
from weak2wise.worker import Drop
from workers.judge import Judge
from workers.records import Asked, Unsolved
from workers.seeds import seed_of


@dataclass(frozen=True)
class Filter:
    """Asks the weak LLM the bare question; with ``params.skip_filter`` it keeps every question without asking."""

    weak: Model
    judge: Judge
    params: Params

    async def __call__(self, asked: Asked) -> Unsolved | Drop:
        """Keep a question with the weak LLM's failed attempt, or drop it as ``weak_solves``."""
        question = asked.question
        if self.params.skip_filter:
            return Unsolved(question=question, weak_attempt=None)
        prompt = Prompt(
            messages=(Message("user", question.text),),
            temperature=self.params.gen_temperature,
            seed=seed_of(self.params.seed, question.row, "filter"),
        )
        completion = await self.weak.complete(prompt)
        attempt = completion.text.strip()
        judge_seed = seed_of(self.params.seed, question.row, "judge")
        verdict = await self.judge(question.text, attempt, question.answer, seed=judge_seed, cut_off=completion.cut_off)
        if verdict.correct:
            return Drop("weak_solves")
        return Unsolved(question=question, weak_attempt=attempt)
