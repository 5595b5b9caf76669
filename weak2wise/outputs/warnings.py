"""What is suspicious about a finished run: shares of its traces, bits and verdicts that point to a wrong setting."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from workers.faithful import MARK
from workers.records import Scored, Traced

SUSPICIOUS = 0.9
"""A larger share of flawed traces or undecided verdicts is warned of."""
_UNDECIDED = ("rule_unsure", "llm_unclear")


class Shares(Struct):
    """Counts over a run's records, taken while its output files are written."""

    traces: int = 0
    without_steps: int = 0
    unfaithful: int = 0
    bits: int = 0
    ones: int = 0

    def note(self, record: object) -> None:
        """Count one record of any step."""
        match record:
            case Traced():
                for candidate in record.candidates:
                    self.traces += 1
                    self.without_steps += not candidate.step_list
                    self.unfaithful += MARK in candidate.marks
            case Scored():
                for score in record.scores:
                    self.bits += sum(bit is not None for bit in score.s_list)
                    self.ones += sum(bit == 1 for bit in score.s_list)


def warnings(counts: Shares, verdicts: Mapping[str, int], *, masked: bool) -> list[str]:
    """Sentences about what is suspicious.

    Args:
        counts: over all records of the run.
        verdicts: counted by what decided them, of this start.
        masked: whether Step-Mask scores the traces.
    """
    return [*_of(counts, masked=masked), *_of_verdicts(verdicts)]


def _of(counts: Shares, *, masked: bool) -> Iterator[str]:
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
    if masked and bits and not counts.ones:
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
