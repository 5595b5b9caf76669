"""Step 4: the best-guiding trace, cut where the correct answer is first derived (paper, section 3.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

from weak2wise.errors import RecordError
from workers.records import Candidate, Golden, Score, Scored
from workers.seeds import seed_of
from workers.truncate import Truncate


@dataclass(frozen=True)
class Select:
    """Chooses the winner and cuts its normal reasoning."""

    truncate: Truncate
    weights: Sequence[int]
    """What each mask level is worth (``workers.scoring.exact_weights``)."""
    seed: int

    async def __call__(self, scored: Scored) -> Golden:
        """The golden trace of one question.

        Raises:
            RecordError: ``no_reasoning``: no candidate says anything.
        """
        winner, score = select(scored.candidates, scored.scores, self.weights)
        if not winner.normal.strip():
            raise RecordError("no_reasoning", "the winning candidate has no reasoning", endpoint=winner.m_strong)
        question = scored.question
        seed = seed_of(self.seed, question.row, "truncate")
        cut = await self.truncate(winner.normal, question.answer, seed=seed)
        return Golden(question=question, winner=winner, score=score, truncated=cut.text, cut_by=cut.by)


def select(candidates: Sequence[Candidate], scores: Sequence[Score], weights: Sequence[int]) -> tuple[Candidate, Score]:
    """The highest score; then the fewest words of normal reasoning; then the earliest candidate.

    A candidate without normal reasoning of its own never wins on length. What a race left open counts as 1: its loser
    still loses.
    """

    def rank(pair: tuple[Candidate, Score]) -> tuple[int, float]:
        candidate, score = pair
        worth = sum(weight for weight, bit in zip(weights, score.s_list, strict=False) if bit != 0)
        return -worth, candidate.length

    return min(zip(candidates, scores, strict=True), key=rank)
