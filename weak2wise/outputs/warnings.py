"""What is suspicious about a finished run: shares of its traces, bits and verdicts that point to a wrong setting."""

from collections.abc import Iterator, Mapping

from msgspec import Raw, Struct

from weak2wise.ledger.account import Account
from weak2wise.ledger.outcomes import Done
from workers.faithful import MARK

SUSPICIOUS = 0.9
"""A larger share of flawed traces or undecided verdicts is warned of."""
_UNDECIDED = ("rule_unsure", "llm_unclear")


class _Candidate(Struct):
    step_list: list[Raw]
    marks: tuple[str, ...] = ()


class _Traced(Struct):
    candidates: tuple[_Candidate, ...]


class _Score(Struct):
    s_list: tuple[int | None, ...] = ()


class _Scored(Struct):
    scores: tuple[_Score, ...]


class _Counts(Struct):
    traces: int = 0
    without_steps: int = 0
    unfaithful: int = 0
    bits: int = 0
    ones: int = 0


def warnings(account: Account, verdicts: Mapping[str, int], *, masked: bool) -> list[str]:
    """Sentences about what is suspicious. Blocks.

    Args:
        account: the run's, with the ledgers of its steps.
        verdicts: counted by what decided them, of this start.
        masked: whether Step-Mask scores the traces.
    """
    counts = _Counts()
    if generated := account.steps.get("generate"):
        generated.each_done(_Traced, lambda done: _count_traces(counts, done))
    if masked and (scored := account.steps.get("stepmask")):
        scored.each_done(_Scored, lambda done: _count_bits(counts, done))
    return [*_of(counts, masked=masked), *_of_verdicts(verdicts)]


def _count_traces(counts: _Counts, done: Done[_Traced]) -> None:
    for candidate in done.record.candidates:
        counts.traces += 1
        counts.without_steps += not candidate.step_list
        counts.unfaithful += MARK in candidate.marks


def _count_bits(counts: _Counts, done: Done[_Scored]) -> None:
    for score in done.record.scores:
        counts.bits += sum(bit is not None for bit in score.s_list)
        counts.ones += sum(bit == 1 for bit in score.s_list)


def _of(counts: _Counts, *, masked: bool) -> Iterator[str]:
    traces, bits = counts.traces, counts.bits
    if masked and counts.without_steps > SUSPICIOUS * traces:
        yield (
            f"{counts.without_steps:,} of {traces:,} traces have no steps, so that they score 0 unasked: a step is "
            "what follows a line that begins with '## ' (prompts.cgen asks for it)"
        )
    if counts.unfaithful > SUSPICIOUS * traces:
        yield (
            f"{counts.unfaithful:,} of {traces:,} traces end with another answer than the reference answer; are those "
            "answers right (dataset.columns.answer)?"
        )
    if bits and not counts.ones:
        yield (
            f"none of {bits:,} bits is 1: with no hint did the weak LLM reach an answer, so that all scores are 0; "
            "does it put its answer into \\boxed{} (prompts.pqr), and has it room for one (max_tokens)?"
        )


def _of_verdicts(verdicts: Mapping[str, int]) -> Iterator[str]:
    total, undecided = sum(verdicts.values()), sum(verdicts.get(by, 0) for by in _UNDECIDED)
    if undecided > SUSPICIOUS * total:
        yield (
            f"{undecided:,} of {total:,} verdicts are unsure and count as No: a judge LLM decides where the rule "
            "cannot (models.judge), and its last line must be Yes or No (prompts.pjudge)"
        )
