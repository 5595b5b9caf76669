"""The shortest or the longest candidate wins, by the words of its reasoning.

As in ties, a candidate without thinking of its own goes by its step reasoning, and never wins against one that has
thinking: its reasoning is another kind of text.
"""

from typing import ClassVar

from workers.records import Candidate, Score, Traced
from workers.scorers.scorer import Scorer


class Longest(Scorer):
    """The most words, separated by white space."""

    version = "1"
    label = "compared by length"
    ranking = "the most words of reasoning"
    sign: ClassVar[int] = 1
    """1: more words are better; -1: fewer."""

    async def __call__(self, traced: Traced) -> list[Score]:
        """The number of words of each candidate, negative if fewer are better; nothing is asked."""
        lengths = [candidate.length for candidate in traced.candidates]
        return [
            Score(score=float(self.sign * words), evidence={"words": words, "own": not without_own})
            for without_own, words in lengths
        ]

    def rank(self, candidate: Candidate, score: Score) -> tuple[int, float]:
        """Thinking of its own first, then the words."""
        return candidate.length[0], -score.score

    @staticmethod
    def explain(score: Score) -> str:
        """The words, and of what."""
        words = score.debug["words"]
        what = "" if score.debug["own"] else " of steps"
        return f"{words:,} word{'' if words == 1 else 's'}{what}"


class Shortest(Longest):
    """The fewest words, separated by white space."""

    ranking = "the fewest words of reasoning"
    sign = -1
