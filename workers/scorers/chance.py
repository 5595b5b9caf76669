"""A random candidate wins: what every other scorer has to beat."""

from weak2wise.config import Params
from workers.records import Score, Traced
from workers.scorers.scorer import Scorer
from workers.seeds import seed_of


class Chance(Scorer):
    """Draws a number from 0 to 1 for each candidate, seeded by what it is for, so that a resumed run draws the same."""

    version = "1"
    label = "drawn by lot"
    ranking = "the highest number of those drawn at random"

    async def __call__(self, traced: Traced) -> list[Score]:
        """One draw for each candidate; nothing is asked."""
        seed = self.context.params.seed
        return [
            Score(score=seed_of(seed, traced.row, "random", c.m_strong, c.sample) / 2**31, evidence={})
            for c in traced.candidates
        ]

    @classmethod
    def highest(cls, params: Params) -> float:
        """A draw is below 1."""
        del params
        return 1.0

    @staticmethod
    def explain(score: Score) -> str:
        """There is nothing more to say."""
        return f"drew {score.score:.3f}"
