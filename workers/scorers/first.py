"""The first candidate wins: what a pipeline that compares nothing would take."""

from workers.records import Candidate, Score, Traced
from workers.scorers.scorer import Scorer


class First(Scorer):
    """Scores by position: the order of the models in the config, then the sample number."""

    version = "1"
    label = "taken in order"
    ranking = "the first place in the order of the models, then of their samples"

    async def __call__(self, traced: Traced) -> list[Score]:
        """0 for the first candidate, -1 for the second, and so on; nothing is asked."""
        return [Score(score=float(-at), evidence={"position": at + 1}) for at in range(len(traced.candidates))]

    def rank(self, candidate: Candidate, score: Score) -> float:
        """The position alone."""
        del candidate
        return -score.score

    @staticmethod
    def explain(score: Score) -> str:
        """The position."""
        return f"no. {score.debug['position']} in order"
