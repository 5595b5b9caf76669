"""The questions that a run lost last, for the page: those that failed, with their message; those dropped, and why."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, RowStatus
from weak2wise.outputs.reasons import in_words

Kind = Literal["failed", "dropped"]
EACH = 20
"""Questions shown of one step."""
_STATUS = {"failed": RowStatus.FAILED, "dropped": RowStatus.DROPPED}


class Loss(Struct, frozen=True):
    """One question; plain texts. ``title``: the question, empty where no ledger has it."""

    row: int
    step: str
    why: str
    message: str
    title: str


class Reason(Struct, frozen=True):
    """How many questions were lost at a step for one reason."""

    step: str
    why: str
    count: int


class Losses(Struct, frozen=True):
    """The newest of each step, the last step first, and how many there are by reason."""

    newest: list[Loss]
    reasons: list[Reason]


def losses(intake: Ledger[Any] | None, steps: Sequence[Ledger[Any]], kind: Kind) -> Losses:
    """Those in the ledgers of a run. Blocks; raises as ``Ledger.read``.

    Args:
        intake: the ledger of lines that cannot be read.
        steps: in order.
        kind: which.
    """
    ledgers = [*([intake] if intake else []), *steps]
    status = _STATUS[kind]
    newest, reasons = [], []
    for at in range(len(ledgers) - 1, -1, -1):
        ledger = ledgers[at]
        before = ledgers[at - 1] if at else None
        newest += [_loss(ledger, before, row) for row in ledger.newest(status, EACH)]
        counts = [ledger.numbers.count(number) for number in range(len(ledger.endings))]
        reasons += [
            Reason(ledger.name, _words(ending.why), count)
            for ending, count in zip(ledger.endings, counts, strict=True)
            if ending.status is status and count
        ]
    return Losses(newest, reasons)


def _loss(ledger: Ledger[Any], before: Ledger[Any] | None, row: int) -> Loss:
    outcome = ledger.read(row)
    match outcome:
        case Failed():
            return Loss(row, ledger.name, _words(outcome.kind), outcome.message, outcome.title)
        case Dropped():
            detail = outcome.detail if isinstance(outcome.detail, str) else ""
            return Loss(row, ledger.name, _words(outcome.reason), detail, _title(before, row))
    return Loss(row, ledger.name, "done since", "", "")


def _title(before: Ledger[Any] | None, row: int) -> str:
    """The question's text, where the step before has a record of it."""
    if before is None or before.status(row) is not RowStatus.DONE:
        return ""
    outcome = before.read(row)
    return str(outcome.record.title) if isinstance(outcome, Done) else ""


def _words(reason: str) -> str:
    return in_words(reason).replace("_", " ")
