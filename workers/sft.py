"""Step 5: one line of supervised fine-tuning data (paper, section 3.5), or one for each trace that is kept."""

from dataclasses import dataclass

from msgspec import UNSET

from workers.records import Golden, Question, SftRow


def prompt_of(question: Question) -> str:
    """What is asked in training: the question."""
    return question.text.strip()


def response_of(question: Question, truncated: str) -> str:
    """What is learned: the reasoning, cut, and the reference answer."""
    return f"<think> {truncated.strip()} </think> {question.answer.strip()}"


@dataclass(frozen=True)
class Sft:
    """Formats a golden trace as a prompt and a response that thinks before it answers."""

    pairs: bool = False
    """Whether the other trace that was kept is the worse one of a pair."""

    async def __call__(self, golden: Golden) -> SftRow:
        """The training example of one question."""
        question = golden.question
        response, *more = (response_of(question, kept.truncated) for kept in golden.kept)
        return SftRow(
            question=question,
            prompt=prompt_of(question),
            response=response,
            others=tuple(more) if more and not self.pairs else UNSET,
            rejected=more[0] if more and self.pairs else UNSET,
        )
