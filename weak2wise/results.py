"""What a finished run leaves behind: the views, the list of failures, and what to do about unreadable input."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.dataset import is_hub, unit
from weak2wise.ledger.account import Account
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Done, Failed, Ledger, RowStatus

View = Callable[[Any], Iterator[dict[str, Any]]]


def write_views(views: Mapping[Path, View], failed: Path, account: Account) -> None:
    """Write each step's view and the failures in input order, each whole or not at all. Blocks; raises ``OSError``."""
    encode = msgspec.json.Encoder().encode
    for (path, view), step in zip(views.items(), account.steps.values(), strict=True):
        write_atomic(path, (encode(line) + b"\n" for record in _records(step) for line in view(record)))
    lines = (_failed_line(end) for end in account.ends() if isinstance(end, Failed))
    write_atomic(failed, (encode(line) + b"\n" for line in lines))


def _records(ledger: Ledger[Any]) -> Iterator[Any]:
    for row in ledger.rows():
        if ledger.status(row) is RowStatus.DONE:
            outcome = ledger.read(row)
            assert isinstance(outcome, Done)
            yield outcome.record


def _failed_line(failed: Failed) -> dict[str, Any]:
    line = msgspec.structs.asdict(failed)
    return {"row": line.pop("row"), "id": line.pop("id"), "question": line.pop("title"), **line}


_CLOSED = {".json", ".parquet", ".gz", ".zst"}
"""Inputs that cannot grow at their end and stay, up to there, what a run was begun with."""


def unreadable(count: int, failed: Path, source: Path) -> str:
    """What to do about rows of the input that are no questions: trying them again changes nothing."""
    what = f"{unit(source)}{'' if count == 1 else 's'}"
    said = f"{count:,} input {what} cannot be read, see {failed}. Trying again does not fix that: "
    if is_hub(source) or source.suffix in _CLOSED:
        return said + "put corrected rows into an input with a work_dir of its own"
    return said + "append corrected lines to the input and go on with --resume force"
