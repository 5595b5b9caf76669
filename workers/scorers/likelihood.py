"""Step-Mask with a probability in the place of each bit: how likely the reference answer is after the hint.

One prefill for each mask level, no sampling and no judge. Our own; docs/method.md says what is known of it.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import exp, fsum, inf, log

from weak2wise.config import Params
from weak2wise.errors import RecordError
from weak2wise.llm.model import Continuation
from workers.fanout import all_settled
from workers.records import Candidate, Question, Score, Traced
from workers.scorers.logprobs import ask
from workers.scorers.masking import averages, exact_weights, hint
from workers.scorers.scorer import Scorer
from workers.scorers.stepmask import StepMask


def log_of_sum(weights: Sequence[int], logprobs: Sequence[float | None]) -> float:
    """The logarithm of the weighted sum of probabilities that are given as logarithms; ``None`` is a probability of 0.

    It tells scores apart that are too small for floating point, as those of long answers are.
    """
    known = zip(weights, logprobs, strict=True)
    terms = [log(weight) + found for weight, found in known if weight and found is not None]
    most = max(terms, default=-inf)
    return most + log(fsum(exp(term - most) for term in terms)) if terms else most


class Likelihood(Scorer):
    r"""Scores a candidate by the probability of ``\boxed{answer}`` at each mask level, weighed as Step-Mask's bits."""

    version = "1"
    label = "measured by the likelihood of the answer"
    ranking = "the highest probability of the answer after its masked hints; then the shortest reasoning"
    needs_steps = True
    asks_logprobs = True

    async def __call__(self, traced: Traced) -> list[Score]:
        """Score all candidates of one question.

        Raises:
            RecordError: no hint left the weak LLM room, or a call failed for another reason.
        """
        levels, rules = range(self.context.params.n_mask), self.context.rules
        hints = [
            [hint(candidate.step_list, level, len(levels), rules) for level in levels] if candidate.step_list else []
            for candidate in traced.candidates
        ]
        distinct = list(dict.fromkeys(text for row in hints for text in row))
        found = await all_settled(self._logprob(traced.question, text) for text in distinct)
        failed = [error for error in found if isinstance(error, RecordError)]
        if other := [error for error in failed if error.kind != "context_overflow"]:
            raise other[0]
        if failed and len(failed) == len(found):
            raise failed[0]
        known = {
            text: None if isinstance(value, RecordError) else value for text, value in zip(distinct, found, strict=True)
        }
        return [self._score([known[text] for text in row]) for row in hints]

    def rank(self, candidate: Candidate, score: Score) -> tuple[float, ...]:
        """The highest score, compared by its logarithm; then the shortest reasoning."""
        return -self.worth(score), *self.length(candidate)

    def worth(self, score: Score) -> float:
        """The score's logarithm, up to a constant; another scorer's score, from before ``--resume force``, as it is."""
        params, logprobs = self.context.params, score.debug.get("logprobs")
        if logprobs is None:
            return score.score
        if not logprobs:
            return -inf
        return log_of_sum(
            exact_weights(len(logprobs), beta=params.beta, normalization=params.ew_normalization), logprobs
        )

    @classmethod
    def highest(cls, params: Params) -> Fraction | float:
        """That of an answer that is certain after every hint."""
        return StepMask.highest(params)

    @classmethod
    def texts(cls, params: Params) -> int:
        """The answer after each hint."""
        return params.n_mask

    @staticmethod
    def explain(score: Score) -> str:
        """The probability at each mask level."""
        logprobs = score.debug["logprobs"]
        shown = ("no room" if found is None else f"{exp(found):.2g}" for found in logprobs)
        return f"P(answer) by mask level: {', '.join(shown)}" if logprobs else "no steps"

    async def _logprob(self, question: Question, text: str) -> float:
        guided = self.context.prompts.guided(question.text, text)
        found = await ask(self.context, guided, Continuation(f"\\boxed{{{question.answer.strip()}}}"))
        return fsum(found.values)

    def _score(self, logprobs: list[float | None]) -> Score:
        if not logprobs:
            return Score(score=0.0, evidence={"logprobs": []})
        params = self.context.params
        chances = [0.0 if found is None else exp(found) for found in logprobs]
        savg, sew = averages(chances, params.ew_normalization)
        return Score(
            score=params.beta * savg + (1 - params.beta) * sew,
            evidence={"logprobs": logprobs, "savg": savg, "sew": sew},
        )
