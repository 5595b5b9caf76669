"""Step 4: the best-guiding trace, cut where the correct answer is first derived (paper, section 3.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

from weak2wise.errors import RecordError
from workers.records import Candidate, Golden, Score, Scored
from workers.scorers import Scorer
from workers.seeds import seed_of
from workers.truncate import Truncate


@dataclass(frozen=True)
class Select:
    """Chooses the winner and cuts its normal reasoning."""

    truncate: Truncate
    scorer: Scorer
    """The one that scored the candidates; it also ranks them."""
    seed: int

    async def __call__(self, scored: Scored) -> Golden:
        """The golden trace of one question.

        Raises:
            RecordError: ``no_reasoning``: the winner has no reasoning.
        """
        winner, score = select(scored.candidates, scored.scores, self.scorer)
        if not winner.normal.strip():
            raise RecordError("no_reasoning", "the winning candidate has no reasoning", endpoint=winner.m_strong)
        question = scored.question
        seed = seed_of(self.seed, question.row, "truncate")
        cut = await self.truncate(winner.normal, question.answer, seed=seed)
        return Golden(question=question, winner=winner, score=score, truncated=cut.text, cut_by=cut.by)


def select(candidates: Sequence[Candidate], scores: Sequence[Score], scorer: Scorer) -> tuple[Candidate, Score]:
    """The candidate that the scorer ranks first (of several equal ones the earliest), and its score."""
    return min(zip(candidates, scores, strict=True), key=lambda pair: scorer.rank(*pair))
