"""What a scorer is: it turns the candidates of one question into scores, ranks them, and describes the scores.

Of every scorer the higher score is the better one, so that all can be shown, filtered and compared alike.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import Any, ClassVar

from weak2wise.config import Params
from workers.context import Context
from workers.records import Candidate, Score, Traced


class Scorer(ABC):
    """The base of all scorers.

    One instance serves a whole run and many questions at once. ``context`` is what it may ask: the weak LLM
    (``context.models["weak"]``) and the judge (``context.judge``). Only their answers are stored for this step, so
    that a resumed run does not ask for them again. A scorer seeds its calls from what it asks (``workers.seeds``) and
    raises ``RecordError`` or ``RunStopped``, as any worker does.
    """

    label: ClassVar[str] = "scored"
    """What is true of a question that passed this step, in words for people."""
    ranking: ClassVar[str] = "the highest score; then the shortest reasoning"
    """What the winner has, in words for people: it ends the sentence "The winner has …"."""
    version: ClassVar[str | None] = None
    """Part of the manifest: a run does not continue with scores of another version. Required of a scorer that is loaded
    by import path."""
    needs_steps: ClassVar[bool] = False
    """Whether it can score only traces that have steps."""
    asks_logprobs: ClassVar[bool] = False
    """Whether it asks the weak LLM how likely given texts are. A run does not start on an endpoint that cannot say."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @abstractmethod
    async def __call__(self, traced: Traced, /) -> Sequence[Score]:
        """The candidates' scores, one for each, in the same order."""

    def rank(self, candidate: Candidate, score: Score) -> Any:
        """A sort key: the smallest of a question wins, of several equal ones the earliest.

        By default: the highest score, then the shortest reasoning (``length``).
        """
        return -score.score, *self.length(candidate)

    def worth(self, score: Score) -> Any:
        """The score, as it compares exactly with other ones."""
        return score.score

    def reaches(self, score: Score) -> bool:
        """Whether a winner with this score is kept (``params.min_score``)."""
        least = self.context.params.min_score
        return least is None or score.score >= least

    @classmethod
    def highest(cls, params: Params) -> Fraction | float:  # noqa: ARG003
        """The highest score that there can be."""
        return inf

    def length(self, candidate: Candidate) -> tuple[int, int]:
        """``candidate.length``, as the run's rules see it: by the first ones, no length counts without own thinking."""
        without_own, words = candidate.length
        return without_own, 0 if without_own and self.context.rules < 2 else words

    @classmethod
    def attempts(cls, params: Params) -> int:  # noqa: ARG003
        """The most attempts of the weak LLM for one candidate, each of them judged; for forecasts."""
        return 0

    @classmethod
    def texts(cls, params: Params) -> int:  # noqa: ARG003
        """About how many given texts the weak LLM is asked about for one candidate; for forecasts."""
        return 0

    @staticmethod
    def explain(score: Score) -> str:
        """The evidence of a score in one short line; it is shown of finished runs too, where there is no context."""
        return ", ".join(f"{name} {value}" for name, value in score.debug.items())
