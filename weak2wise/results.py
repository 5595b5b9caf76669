"""What a finished run leaves behind: the views, the list of failures, and totals that balance."""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Status
from weak2wise.pipeline import Stage

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


def write_views(views: Mapping[Path, View], stages: Sequence[Stage[Any]], failed: Path, intake: Ledger[Any]) -> None:
    """Write each stage's view and the failures in input order, each whole or not at all. Blocks; raises ``OSError``."""
    encode = msgspec.json.Encoder().encode
    for (path, view), stage in zip(views.items(), stages, strict=True):
        write_atomic(path, (encode(line) + b"\n" for record in _records(stage.ledger) for line in view(record)))
    ends = _ends([intake, *(stage.ledger for stage in stages)])
    lines = (_failed_line(outcome) for outcome in ends if isinstance(outcome, Failed))
    write_atomic(failed, (encode(line) + b"\n" for line in lines))


def _records(ledger: Ledger[Any]) -> Iterator[Any]:
    for row in ledger.rows():
        if ledger.status(row) is Status.DONE:
            outcome = ledger.read(row)
            assert isinstance(outcome, Done)
            yield outcome.record


def _failed_line(failed: Failed) -> dict[str, Any]:
    line = msgspec.structs.asdict(failed)
    return {"row": line.pop("row"), "question": line.pop("title"), **line}


def _ends(ledgers: Sequence[Ledger[Any]]) -> Iterator[Dropped | Failed]:
    """How each row ended that was dropped or failed; the latest ledger that knows a row is the one that counts."""
    for row in range(max(len(ledger.rows()) for ledger in ledgers)):
        for ledger in reversed(ledgers):
            status = ledger.status(row)
            if status in {Status.DROPPED, Status.FAILED}:
                outcome = ledger.read(row)
                assert not isinstance(outcome, Done)
                yield outcome
            if status is not Status.NONE:
                break


def failed_rows(ledgers: Sequence[Ledger[Any]], kinds: Container[str]) -> tuple[set[int], Counter[str]]:
    """The rows that failed for one of these kinds in a stage, and how many failed for each kind at all. Blocks."""
    rows: set[int] = set()
    found: Counter[str] = Counter()
    for outcome in _ends(ledgers):
        if isinstance(outcome, Failed):
            found[outcome.kind] += 1
            if outcome.kind in kinds:
                rows.add(outcome.row)
    return rows, found


def totals(rows: int, stages: Sequence[Stage[Any]], intake: Ledger[Any]) -> Totals:
    """Count where ``rows`` input rows stand. Blocks."""
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for outcome in _ends([intake, *(s.ledger for s in stages)]):
        if isinstance(outcome, Dropped):
            dropped[outcome.reason] += 1
        elif isinstance(outcome, Failed):
            failed[f"{outcome.stage}/{outcome.kind}"] += 1
    last = stages[-1].ledger
    emitted = sum(last.status(row) is Status.DONE for row in last.rows())
    unfinished = rows - emitted - dropped.total() - failed.total()
    return Totals(
        rows=rows, emitted=emitted, dropped=dict(dropped), failed=dict(sorted(failed.items())), unfinished=unfinished
    )
