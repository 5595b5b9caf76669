"""Whether a strong trace arrives at the answer it was given, and scoring only those that do.

A strong model is shown the reference answer and may still end somewhere else. The rule alone judges that, and only
where it is sure, so that no trace is marked for being written in another way.
"""

from dataclasses import dataclass

from msgspec import structs

from weak2wise.worker import Drop, Partial, Worker
from workers.answers import final_answer
from workers.judge import Judge
from workers.records import Scored, Traced

MARK = "unfaithful"


async def contradicts(judge: Judge, trace: str, answer: str) -> bool:
    """Whether a trace states a final answer and the rule is sure that it is not the reference answer."""
    return final_answer(trace) is not None and await judge.rule(trace, answer) is False


@dataclass(frozen=True)
class FaithfulOnly:
    """A scoring step that is shown no unfaithful candidate."""

    scoring: Worker[Traced, Scored]

    async def __call__(self, traced: Traced) -> Scored | Partial[Scored] | Drop:
        """Score what is faithful; a question with no such candidate is dropped as ``unfaithful``."""
        kept = tuple(candidate for candidate in traced.candidates if MARK not in candidate.marks)
        return await self.scoring(structs.replace(traced, candidates=kept)) if kept else Drop(MARK)
