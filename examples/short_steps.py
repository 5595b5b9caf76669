"""A scorer of your own: prefers the trace with the shortest longest step. It asks no model.

PYTHONPATH=examples weak2wise --config config.yaml --set params.scorer=short_steps:ShortSteps
"""

from weak2wise import Candidate, Score, Scorer, Traced


class ShortSteps(Scorer):
    """One divided by the characters of the longest step: a small model loses its way in long ones."""

    version = "1"
    label = "read step by step"
    ranking = "the shortest longest step"
    needs_steps = True

    async def __call__(self, traced: Traced) -> list[Score]:
        """A score for each trace, in order."""
        return [self._score(candidate) for candidate in traced.candidates]

    @staticmethod
    def _score(candidate: Candidate) -> Score:
        longest = max((len(step) for step in candidate.step_list), default=0)
        return Score(score=1 / longest if longest else 0.0, evidence={"longest": longest})

    @staticmethod
    def explain(score: Score) -> str:
        """The evidence in one line, for report, preview and page."""
        return f"its longest step has {score.evidence['longest']:,} characters"
