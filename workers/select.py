"""Step 4: the best-guiding trace, cut where the correct answer is first derived (paper, section 3.4)."""

import math
from dataclasses import dataclass

from weak2wise.errors import RecordError
from workers.records import Candidate, Golden, Score, Scored
from workers.seeds import seed_of
from workers.truncate import Truncate


@dataclass(frozen=True)
class Select:
    """Chooses the winner and cuts its normal reasoning."""

    truncate: Truncate
    seed: int

    async def __call__(self, scored: Scored) -> Golden:
        """The golden trace of one question.

        Raises:
            RecordError: ``no_reasoning``: no candidate says anything.
        """
        winner, score = select(scored.candidates, scored.scores)
        if not winner.normal.strip():
            raise RecordError("no_reasoning", "the winning candidate has no reasoning", endpoint=winner.m_strong)
        question = scored.question
        seed = seed_of(self.seed, question.row, "truncate")
        cut = await self.truncate(winner.normal, question.answer, seed=seed)
        return Golden(question=question, winner=winner, score=score, truncated=cut.text, cut_by=cut.by)


def select(candidates: tuple[Candidate, ...], scores: tuple[Score, ...]) -> tuple[Candidate, Score]:
    """The highest score; then the fewest words of normal reasoning; then the earliest candidate.

    A candidate without normal reasoning of its own never wins on length.
    """

    def rank(pair: tuple[Candidate, Score]) -> tuple[float, float]:
        candidate, score = pair
        return -score.score, len(candidate.normal.split()) if candidate.normal_is_own else math.inf

    return min(zip(candidates, scores, strict=True), key=rank)
