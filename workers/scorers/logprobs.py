"""Scorers that ask how likely a trace is under the weak LLM; nothing is sampled and nothing is judged.

The text of a trace is its reasoning, as it would be trained on: the answer to the bare question. docs/method.md has
the formulas, their sources, and what is our own choice. Of each the higher score is the better one, so a measure of
which the smaller value is better has its sign changed.

A trace that cannot be measured, because it is too long for the weak LLM or empty, has a score that is only a bound,
and loses against every other.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from math import fsum
from typing import ClassVar

from weak2wise.config import Params
from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.model import Continuation, Logprobs, Message, Prompt
from workers.answers.locate import sentences
from workers.context import Context
from workers.fanout import all_settled
from workers.records import Candidate, Question, Score, Traced
from workers.scorers.scorer import Scorer

MOST_RANK = 100
"""Ranks are clipped at this one (arXiv 2601.14249 and its authors' code)."""
WINDOW = 4
"""How many sentences before it a sentence is seen with."""
SENTENCES = 40
"""Of a trace, for forecasts."""
LEAST_SURPRISAL = 1e-12
_NOT_MEASURED = {"context_overflow": "too long for the weak LLM", "no_reasoning": "no reasoning"}
"""Why a candidate was not measured, in words, by the kind of the error."""


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return fsum(values) / len(values)


def rank_surprisal_ratio(found: Logprobs) -> float:
    """The sum of the clipped ranks by the sum of the negative log-probabilities; the smaller, the better."""
    return sum(min(rank, MOST_RANK) for rank in found.ranks) / max(-fsum(found.values), LEAST_SURPRISAL)


def graded_ifd(given_question: Sequence[float], alone: Sequence[float]) -> tuple[float, float]:
    """The IFD of an answer, and the score made of it.

    IFD is the mean negative log-probability with the question by that without it. The highest of at most 1 is best.
    What is above 1 is worse than all of these, the more the worse: its score is 1 - IFD.
    """
    ifd = mean(given_question) / min(mean(alone), -LEAST_SURPRISAL)
    return ifd, ifd if ifd <= 1 else 1 - ifd


def windows(text: str) -> Iterator[Continuation]:
    """Each sentence of a text, with white space before it, and the sentences before it that it is seen with."""
    starts = [start for start, _ in sentences(text)]
    ends = [end for _, end in sentences(text)]
    for at, end in enumerate(ends):
        begin = ends[at - 1] if at else starts[0]
        yield Continuation(text[begin:end], text[starts[max(0, at - WINDOW)] : begin])


class LogprobScorer(Scorer):
    """The base of scorers that ask how likely given texts are."""

    version = "1"
    asks_logprobs = True
    bound: ClassVar[float] = 0.0
    """The most that a score can be."""

    async def __call__(self, traced: Traced) -> list[Score]:
        """Measure all candidates of one question.

        Raises:
            RecordError: none could be measured, or a call failed for another reason than a text's length.
        """
        measured = await all_settled(self.measure(traced.question, candidate) for candidate in traced.candidates)
        failed = [found for found in measured if isinstance(found, RecordError)]
        if other := [error for error in failed if error.kind not in _NOT_MEASURED]:
            raise other[0]
        if len(failed) == len(measured):
            raise failed[0]
        return [
            Score(score=self.bound, is_bound=True, evidence={"not_measured": found.kind})
            if isinstance(found, RecordError)
            else found
            for found in measured
        ]

    @abstractmethod
    async def measure(self, question: Question, candidate: Candidate) -> Score:
        """One candidate's score. Raises ``RecordError``."""

    def rank(self, candidate: Candidate, score: Score) -> tuple[float, ...]:
        """What was measured first, then the highest score, then the shortest reasoning."""
        return score.is_bound, -score.score, *self.length(candidate)

    @classmethod
    def highest(cls, params: Params) -> float:
        """What is shown of a trace that is not measured."""
        del params
        return cls.bound

    @classmethod
    def texts(cls, params: Params) -> int:
        """The trace."""
        del params
        return 1

    @classmethod
    def explain(cls, score: Score) -> str:
        """What was measured, or why nothing was."""
        return _NOT_MEASURED.get(score.debug.get("not_measured", "")) or cls.describe(score)

    @staticmethod
    @abstractmethod
    def describe(score: Score) -> str:
        """A measured score's evidence in one short line."""

    async def of_trace(self, question: str, candidate: Candidate) -> Logprobs:
        """The log-probabilities of a whole trace as the answer to a question. Raises as ``ask``."""
        return await ask(self.context, question, Continuation(reasoning(candidate)))


def reasoning(candidate: Candidate) -> str:
    """The text of a trace. Raises ``RecordError`` if it has none."""
    text = candidate.normal.strip()
    if not text:
        raise RecordError("no_reasoning", "the candidate has no reasoning", endpoint=candidate.m_strong)
    return text


async def ask(context: Context, question: str, text: Continuation) -> Logprobs:
    """How likely a text is as the weak LLM's answer.

    Raises:
        RecordError: the weak LLM cannot say, as question and text are too long together.
        RunStopped: it answers something else.
    """
    prompt = Prompt(messages=(Message("user", question),), temperature=0.0, seed=0, continuation=text)
    found = (await context.models["weak"].complete(prompt)).logprobs
    if not isinstance(found, Logprobs) or not found.values or len(found.values) != len(found.ranks):
        raise RunStopped(
            "models.mweak: the endpoint answered without the log-probabilities that params.scorer asks for",
            hint="Correct the endpoint's class, or choose another params.scorer.",
        )
    return found


class Grape(LogprobScorer):
    """The mean log-probability of the trace's tokens (arXiv 2502.04194)."""

    label = "measured by likelihood (GRAPE)"
    ranking = "the highest mean log-probability of the trace under the weak LLM; then the shortest reasoning"

    async def measure(self, question: Question, candidate: Candidate) -> Score:
        """One call."""
        found = await self.of_trace(question.text, candidate)
        return Score(score=mean(found.values), evidence={"tokens": len(found.values)})

    @staticmethod
    def describe(score: Score) -> str:
        """The measure, and over how much."""
        return f"mean log-probability {score.score:.3f} over {score.debug['tokens']:,} tokens"


class Rsr(LogprobScorer):
    """The rank-surprisal ratio, with its sign changed: the smallest is best (arXiv 2601.14249)."""

    label = "measured by rank and surprisal (RSR)"
    ranking = "the lowest rank-surprisal ratio under the weak LLM; then the shortest reasoning"

    async def measure(self, question: Question, candidate: Candidate) -> Score:
        """One call."""
        found = await self.of_trace(question.text, candidate)
        ratio = rank_surprisal_ratio(found)
        return Score(score=-ratio, evidence={"ratio": ratio, "tokens": len(found.values)})

    @staticmethod
    def describe(score: Score) -> str:
        """The measure, and over how much."""
        return f"rank-surprisal ratio {score.debug['ratio']:.3f} over {score.debug['tokens']:,} tokens"


class LocalNaturalness(LogprobScorer):
    """The mean over sentences of their mean log-probability, each seen with the few before it (arXiv 2510.03988)."""

    label = "measured by local naturalness"
    ranking = (
        "the highest mean log-probability of its sentences, each seen with the few before it; then the shortest "
        "reasoning"
    )

    async def measure(self, question: Question, candidate: Candidate) -> Score:
        """A call for each sentence, one after the other: the other candidates and questions fill the engine."""
        found = [await ask(self.context, question.text, seen) for seen in windows(reasoning(candidate))]
        score = mean([mean(sentence.values) for sentence in found])
        tokens = sum(len(sentence.values) for sentence in found)
        return Score(score=score, evidence={"sentences": len(found), "tokens": tokens})

    @classmethod
    def texts(cls, params: Params) -> int:
        """A guess at the sentences of a trace."""
        del params
        return SENTENCES

    @staticmethod
    def describe(score: Score) -> str:
        """The measure, and over how much."""
        return f"mean log-probability {score.score:.3f} a sentence, over {score.debug['sentences']:,} sentences"


class Ifd(LogprobScorer):
    """Instruction-following difficulty: how little the question helps to write the trace (arXiv 2308.12032)."""

    label = "measured by instruction-following difficulty (IFD)"
    ranking = "the highest IFD that is at most 1 under the weak LLM; then the shortest reasoning"
    bound = 1.0

    async def measure(self, question: Question, candidate: Candidate) -> Score:
        """Two calls: with the question, and with an empty one in its place."""
        given = await self.of_trace(question.text, candidate)
        alone = await self.of_trace("", candidate)
        ifd, score = graded_ifd(given.values, alone.values)
        return Score(score=score, evidence={"ifd": ifd, "tokens": len(given.values)})

    @classmethod
    def texts(cls, params: Params) -> int:
        """With the question and without it."""
        del params
        return 2

    @staticmethod
    def describe(score: Score) -> str:
        """The measure, and over how much."""
        return f"IFD {score.debug['ifd']:.3f} over {score.debug['tokens']:,} tokens"
