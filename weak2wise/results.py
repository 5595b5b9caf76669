"""What a finished run leaves behind: the views, the list of failures, and totals that balance."""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.dataset import is_hub, unit
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, RowStatus

View = Callable[[Any], Iterator[dict[str, Any]]]


class Totals(Struct, frozen=True, kw_only=True):
    """Where every input row stands: ``rows == emitted + sum(dropped) + sum(failed) + unfinished``.

    ``dropped`` counts by reason, ``failed`` by ``stage/kind``. ``emitted`` counts rows through the last stage that was
    run; ``unfinished`` rows are owed to a run that was stopped.
    """

    rows: int
    emitted: int
    dropped: dict[str, int]
    failed: dict[str, int]
    unfinished: int


def write_views(views: Mapping[Path, View], steps: Sequence[Ledger[Any]], failed: Path, intake: Ledger[Any]) -> None:
    """Write each stage's view and the failures in input order, each whole or not at all. Blocks; raises ``OSError``."""
    encode = msgspec.json.Encoder().encode
    for (path, view), step in zip(views.items(), steps, strict=True):
        write_atomic(path, (encode(line) + b"\n" for record in _records(step) for line in view(record)))
    lines = (_failed_line(outcome) for outcome in ends([intake, *steps]) if isinstance(outcome, Failed))
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


def ends(ledgers: Sequence[Ledger[Any]]) -> Iterator[Dropped | Failed]:
    """How each row ended that was dropped or failed; the latest ledger that knows a row is the one that counts.

    ``ledgers`` are the input's and the steps', in order. Blocks.
    """
    for row in range(max(len(ledger.rows()) for ledger in ledgers)):
        for ledger in reversed(ledgers):
            status = ledger.status(row)
            if status in {RowStatus.DROPPED, RowStatus.FAILED}:
                outcome = ledger.read(row)
                assert not isinstance(outcome, Done)
                yield outcome
            if status is not RowStatus.NONE:
                break


def failed_rows(ledgers: Sequence[Ledger[Any]], kinds: Container[str]) -> tuple[set[int], Counter[str]]:
    """The rows that failed for one of these kinds in a stage, and how many failed for each kind at all. Blocks.

    A row whose new trial was interrupted has left the stage that it failed in and is not through: it counts, too.
    """
    rows: set[int] = set()
    found: Counter[str] = Counter()
    for outcome in ends(ledgers):
        if isinstance(outcome, Failed):
            found[outcome.kind] += 1
            if outcome.kind in kinds:
                rows.add(outcome.row)
    for ledger in ledgers:
        rows |= {row for row, kind in ledger.ever_failed().items() if kind in kinds and _under_way(row, ledgers)}
    return rows, found


def _under_way(row: int, ledgers: Sequence[Ledger[Any]]) -> bool:
    latest = next((ledger for ledger in reversed(ledgers) if ledger.status(row) is not RowStatus.NONE), ledgers[-1])
    return latest is not ledgers[-1] and latest.status(row) is RowStatus.DONE


_CLOSED = {".json", ".parquet", ".gz", ".zst"}
"""Inputs that cannot grow at their end and stay, up to there, what a run was begun with."""


def unreadable(count: int, failed: Path, source: Path) -> str:
    """What to do about rows of the input that are no questions: trying them again changes nothing."""
    what = f"{unit(source)}{'' if count == 1 else 's'}"
    said = f"{count:,} input {what} cannot be read, see {failed}. Trying again does not mend that: "
    if is_hub(source) or source.suffix in _CLOSED:
        return said + "put corrected rows into an input with a work_dir of its own"
    return said + "append corrected lines to the input and go on with --resume force"


def totals(rows: int, steps: Sequence[Ledger[Any]], intake: Ledger[Any]) -> Totals:
    """Count where ``rows`` input rows stand. Blocks."""
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for outcome in ends([intake, *steps]):
        if isinstance(outcome, Dropped):
            dropped[outcome.reason] += 1
        elif isinstance(outcome, Failed):
            failed[f"{outcome.stage}/{outcome.kind}"] += 1
    last = steps[-1]
    emitted = sum(last.status(row) is RowStatus.DONE for row in last.rows())
    unfinished = rows - emitted - dropped.total() - failed.total()
    return Totals(
        rows=rows, emitted=emitted, dropped=dict(dropped), failed=dict(sorted(failed.items())), unfinished=unfinished
    )
