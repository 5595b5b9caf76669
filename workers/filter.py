"""Step 1: drop the questions that the weak LLM already solves (paper, section 3.1), or too often, or too rarely."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from msgspec import UNSET

from weak2wise.config import Params
from weak2wise.llm.model import Completion, Message, Model, Prompt
from weak2wise.worker import Drop
from workers.fanout import fan_out
from workers.judge import Given, Judge
from workers.records import Asked, Unsolved
from workers.seeds import seed_of


@cache
def _exact(bound: float) -> Fraction:
    """A bound as it is written in a config."""
    return Fraction(str(bound))


@dataclass(frozen=True)
class Filter:
    """Asks the weak LLM the bare question, ``params.filter_attempts`` times.

    With ``params.skip_filter`` it keeps every question without asking.
    """

    weak: Model
    judge: Judge
    params: Params

    async def __call__(self, asked: Asked) -> Unsolved | Drop:
        """Keep a question, with the weak LLM's first failed attempt, if its pass rate is in ``params.filter_band``.

        Above it the question is dropped as ``weak_solves``, below it as ``too_hard``.
        """
        question, count = asked.question, self.params.filter_attempts
        if self.params.skip_filter:
            return Unsolved(question=question, weak_attempt=None)
        attempts = await fan_out(map(self.weak.complete, self._prompts(asked)))
        given: Given = {}
        verdicts = [await self._solves(asked, attempt, given) for attempt in attempts]
        rate = Fraction(sum(verdicts), count)
        low, high = map(_exact, self.params.filter_band)
        if rate > high:
            return Drop("weak_solves")
        if rate < low:
            return Drop("too_hard")
        shown = verdicts.index(False) if False in verdicts else 0
        return Unsolved(
            question=question,
            weak_attempt=attempts[shown].text.strip(),
            pass_rate=UNSET if count == 1 else float(rate),
        )

    def _prompts(self, asked: Asked) -> Iterator[Prompt]:
        for number in range(self.params.filter_attempts):
            more = (number,) if number else ()
            yield Prompt(
                messages=(Message("user", asked.question.text),),
                temperature=self.params.gen_temperature,
                seed=seed_of(self.params.seed, asked.row, "filter", *more),
                sample=number,
            )

    async def _solves(self, asked: Asked, attempt: Completion, given: Given) -> bool:
        question = asked.question
        verdict = await self.judge(
            question.text,
            attempt.text.strip(),
            question.answer,
            seed=seed_of(self.params.seed, question.row, "judge"),
            cut_off=attempt.cut_off,
            given=given,
        )
        return verdict.correct
