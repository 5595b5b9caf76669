"""Step 4: the best-guiding trace, cut where the correct answer is first derived (paper, section 3.4).

``params.keep`` asks for more than the winner: so many of the best, each with another reasoning, or the winner and the
trace that ranks last, as a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET

from weak2wise.errors import RecordError
from weak2wise.worker import Drop
from workers.fanout import fan_out
from workers.records import Candidate, Golden, Kept, Score, Scored
from workers.scorers import Scorer
from workers.seeds import seed_of
from workers.truncate import Truncate

NO_PAIR = "no_pair"
"""Why a question is dropped of which no trace is worse than another one."""


@dataclass(frozen=True)
class Select:
    """Chooses the winner, and others if they are asked for, and cuts their normal reasoning."""

    truncate: Truncate
    scorer: Scorer
    """The one that scored the candidates; it also ranks them."""
    seed: int
    keep: int | Literal["pairs"] = 1

    async def __call__(self, scored: Scored) -> Golden | Drop:
        """The golden trace of one question; with ``pairs`` it is dropped if no trace is worse than the winner.

        Raises:
            RecordError: ``no_reasoning``: the winner has no reasoning.
        """
        winner, score = select(scored.candidates, scored.scores, self.scorer)
        if not winner.normal.strip():
            raise RecordError("no_reasoning", "the winning candidate has no reasoning", endpoint=winner.m_strong)
        if self.keep == "pairs":
            worst = last(scored, self.scorer)
            if worst is None or not self.scorer.worth(worst[1]) < self.scorer.worth(score):
                return Drop(NO_PAIR)
            others = [worst]
        else:
            others = best(scored, self.scorer, self.keep)[1:]
        row, answer = scored.row, scored.question.answer
        cut, *cuts = await fan_out(
            self.truncate(candidate.normal, answer, seed=seed_of(self.seed, row, "truncate", *more))
            for candidate, more in [(winner, ()), *((other, (other.m_strong, other.sample)) for other, _ in others)]
        )
        return Golden(
            question=scored.question,
            winner=winner,
            score=score,
            truncated=cut.text,
            cut_by=cut.by,
            others=UNSET
            if self.keep == 1
            else tuple(
                Kept(candidate=other, score=found, truncated=kept.text, cut_by=kept.by)
                for (other, found), kept in zip(others, cuts, strict=True)
            ),
        )


Pair = tuple[Candidate, Score]


def select(candidates: Sequence[Candidate], scores: Sequence[Score], scorer: Scorer) -> Pair:
    """The candidate that the scorer ranks first (of several equal ones the earliest), and its score."""
    return min(zip(candidates, scores, strict=True), key=lambda pair: scorer.rank(*pair))


def best(scored: Scored, scorer: Scorer, count: int) -> list[Pair]:
    """Up to so many of the best candidates in order: with a known score that is enough, each with another reasoning."""
    kept: dict[str, Pair] = {}
    for candidate, score in sorted(_pairs(scored), key=lambda pair: scorer.rank(*pair)):
        text = candidate.normal.strip()
        if text and not score.is_bound and scorer.reaches(score):
            kept.setdefault(text, (candidate, score))
    return list(kept.values())[:count]


def last(scored: Scored, scorer: Scorer) -> Pair | None:
    """The candidate that ranks last of those whose score is known, if it has a reasoning."""
    known = [pair for pair in _pairs(scored) if not pair[1].is_bound]
    worst = max(reversed(known), key=lambda pair: scorer.rank(*pair), default=None)
    return worst if worst and worst[0].normal.strip() else None


def _pairs(scored: Scored) -> list[Pair]:
    return list(zip(scored.candidates, scored.scores, strict=True))
