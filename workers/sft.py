"""Step 5: one line of supervised fine-tuning data (paper, section 3.5)."""

from workers.records import Golden, SftRow


class Sft:
    """Formats a golden trace as a prompt and a response that thinks before it answers."""

    async def __call__(self, golden: Golden) -> SftRow:
        """The training example of one question."""
        question = golden.question
        return SftRow(
            question=question,
            prompt=question.text.strip(),
            response=f"<think> {golden.truncated.strip()} </think> {question.answer.strip()}",
        )
