"""Step 3: scores for the candidates of a question, by the scorer of the run (paper, section 3.3)."""

import math
from dataclasses import dataclass

from msgspec import UNSET, structs

from weak2wise.errors import RecordError, RunStopped
from weak2wise.worker import Drop, Partial
from workers.faithful import MARK
from workers.records import Candidate, Score, Scored, Traced
from workers.scorers import Scorer, StepMask
from workers.select import select

BELOW = "below_min_score"
_NO_STEPS = "no trace has a step, which begins with a line '## …' (prompts.cgen asks for it), so nothing was scored"


@dataclass(frozen=True)
class ScoreCandidates:
    """Lets the scorer score the candidates; with ``faithful_only`` unfaithful ones are removed first."""

    scorer: Scorer
    faithful_only: bool

    async def __call__(self, traced: Traced) -> Scored | Partial[Scored] | Drop:
        """Score one question; one with no candidate left to score is dropped as ``unfaithful``.

        One whose best candidate does not reach ``params.min_score`` is dropped as ``below_min_score``.

        Where the scorer needs steps and no candidate has one, the scores say nothing.

        Raises:
            RunStopped: the scorer did not return one finite score for each candidate.
        """
        if self.faithful_only:
            traced = structs.replace(traced, candidates=faithful(traced.candidates))
            if not traced.candidates:
                return Drop(MARK)
        scores = await checked_scores(self.scorer, traced)
        scored = Scored(question=traced.question, candidates=traced.candidates, scores=scores)
        if not self.scorer.reaches(select(scored.candidates, scored.scores, self.scorer)[1]):
            return Drop(BELOW)
        if self.scorer.needs_steps and not any(candidate.step_list for candidate in traced.candidates):
            return Partial(scored, RecordError("no_steps", _NO_STEPS), worthless=True)
        return scored


def faithful(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Those whose own final answer is the reference answer."""
    return tuple(candidate for candidate in candidates if MARK not in candidate.marks)


async def checked_scores(scorer: Scorer, traced: Traced) -> tuple[Score, ...]:
    """The scorer's scores of a question's candidates.

    Raises:
        RecordError: the question cannot be scored.
        RunStopped: the scorer did not return one finite score for each candidate.
    """
    scores = tuple(await scorer(traced))
    if isinstance(scorer, StepMask):
        return scores
    expected = len(traced.candidates)
    if len(scores) != expected or not all(math.isfinite(score.score) for score in scores):
        raise RunStopped(
            f"params.scorer: {type(scorer).__name__} returned {[score.score for score in scores]}; expected "
            f"{expected} finite scores, one for each candidate",
            hint="Correct the scorer, then start the run again.",
        )
    return tuple(structs.replace(s, evidence={}) if s.evidence is UNSET else s for s in scores)
