"""Step 5: one line of supervised fine-tuning data (paper, section 3.5), or one for each trace that is kept."""

from dataclasses import dataclass

from msgspec import UNSET

from weak2wise.config import Response
from workers.records import Golden, Question, SftRow


def prompt_of(question: Question) -> str:
    """What is asked in training: the question."""
    return question.text.strip()


@dataclass(frozen=True)
class Sft:
    """Formats a golden trace as a prompt and a response that thinks before it answers."""

    response: Response
    """What is learned: the reasoning, cut, and the reference answer."""
    pairs: bool = False
    """Whether the other trace that was kept is the worse one of a pair."""

    async def __call__(self, golden: Golden) -> SftRow:
        """The training example of one question."""
        question = golden.question
        response, *more = (self.response.fill(kept.truncated, question.answer) for kept in golden.kept)
        return SftRow(
            question=question,
            prompt=prompt_of(question),
            response=response,
            others=tuple(more) if more and not self.pairs else UNSET,
            rejected=more[0] if more and self.pairs else UNSET,
        )
