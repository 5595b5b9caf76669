"""What travels through the pipeline, from a question to a row of training data; each step only adds to it."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class Question(Struct, frozen=True, kw_only=True):
    """One input row: ``row`` is its line number from 1, ``id`` the input's own name for it, if it has one."""

    row: int
    id: str | None
    text: str
    answer: str


class _AboutQuestion(Struct, frozen=True, kw_only=True):
    question: Question

    @property
    def row(self) -> int:
        """The input line this came from."""
        return self.question.row

    @property
    def id(self) -> str | None:
        """The input's own name for the question."""
        return self.question.id

    @property
    def title(self) -> str:
        """The question's text."""
        return self.question.text


class Asked(_AboutQuestion, frozen=True, kw_only=True):
    """A question from the input, not asked yet."""


class Unsolved(_AboutQuestion, frozen=True, kw_only=True):
    """A question that the weak LLM does not solve; the attempt is ``None`` where filtering was skipped.

    ``pass_rate``: the share of several attempts that solved it; unset for one.
    """

    weak_attempt: str | None
    pass_rate: float | UnsetType = UNSET


class Candidate(Struct, frozen=True, kw_only=True):
    """One trace by a strong model.

    ``normal`` is the model's own thinking, or the step reasoning where it shows none
    (``normal_is_own`` says which). ``marks`` names the flaws that it was accepted with: ``length``, ``empty``,
    ``content_filter``, ``no_final_answer``; and ``unfaithful`` where its final answer is not the reference answer.
    """

    m_strong: str
    sample: int
    step_reasoning: str
    step_list: tuple[str, ...]
    normal: str
    normal_is_own: bool
    marks: tuple[str, ...] = ()

    @property
    def length(self) -> tuple[int, int]:
        """0, or 1 without own thinking, and the words of the reasoning: the smaller of two wins a tie.

        So a candidate without own thinking never wins on length against one that has it.
        """
        return int(not self.normal_is_own), len(self.normal.split())


class Traced(_AboutQuestion, frozen=True, kw_only=True):
    """A question with its candidates, in model order, then sample number."""

    candidates: tuple[Candidate, ...]


class Score(Struct, frozen=True, kw_only=True):
    """A scorer's result for one candidate; ``is_bound``: the true score is at most ``score``.

    Step-Mask's evidence has fields of its own: ``s_list[i]`` is 1 if the weak LLM reached the answer at mask level i,
    and ``None`` where that was not asked, as the candidate could no longer win. Any other scorer's is ``evidence``,
    JSON values by name; it is unset for Step-Mask alone.
    """

    score: float
    s_list: tuple[int | None, ...] = ()
    savg: float = 0.0
    sew: float = 0.0
    is_bound: bool = False
    evidence: dict[str, Any] | UnsetType = UNSET

    @property
    def is_masked(self) -> bool:
        """Whether it is by Step-Mask."""
        return self.evidence is UNSET

    @property
    def debug(self) -> dict[str, Any]:
        """The evidence by name, of any scorer."""
        if self.evidence is UNSET:
            return {"s_list": self.s_list, "savg": self.savg, "sew": self.sew}
        return self.evidence


class Scored(_AboutQuestion, frozen=True, kw_only=True):
    """Candidates and, in the same order, their scores."""

    candidates: tuple[Candidate, ...]
    scores: tuple[Score, ...]


class Kept(Struct, frozen=True, kw_only=True):
    """A trace that was kept beside the winner, cut alike."""

    candidate: Candidate
    score: Score
    truncated: str
    cut_by: str


class Golden(_AboutQuestion, frozen=True, kw_only=True):
    """The winning trace, cut where the answer is first derived; ``cut_by`` names the mode that cut it.

    ``others``: the next best ones in order, or with ``params.keep: pairs`` the one that ranks last; unset where only
    the winner is kept.
    """

    winner: Candidate
    score: Score
    truncated: str
    cut_by: str
    others: tuple[Kept, ...] | UnsetType = UNSET

    @property
    def kept(self) -> tuple[Kept, ...]:
        """The winner and the others."""
        winner = Kept(candidate=self.winner, score=self.score, truncated=self.truncated, cut_by=self.cut_by)
        return winner, *(() if self.others is UNSET else self.others)


class SftRow(_AboutQuestion, frozen=True, kw_only=True):
    """One training example; ``others``: more responses to the same prompt. ``rejected``: the worse one of a pair."""

    prompt: str
    response: str
    others: tuple[str, ...] | UnsetType = UNSET
    rejected: str | UnsetType = UNSET

    @property
    def responses(self) -> tuple[str, ...]:
        """All responses that are to be trained on, the best first."""
        return self.response, *(() if self.others is UNSET else self.others)
