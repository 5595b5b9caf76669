"""What a finished run leaves behind: the views, the list of failures, and totals that balance."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Status

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
        write_atomic(path, (encode(line) + b"\n" for record in records(step) for line in view(record)))
    lines = (failed_line(outcome) for outcome in ends(steps, intake) if isinstance(outcome, Failed))
    write_atomic(failed, (encode(line) + b"\n" for line in lines))


def records(ledger: Ledger[Any]) -> Iterator[Any]:
    """What a stage made of the rows it is done with, in input order. Blocks."""
    for row in ledger.rows():
        if ledger.status(row) is Status.DONE:
            outcome = ledger.read(row)
            assert isinstance(outcome, Done)
            yield outcome.record


def failed_line(failed: Failed) -> dict[str, Any]:
    """One line of ``failed.jsonl``."""
    line = msgspec.structs.asdict(failed)
    return {"row": line.pop("row"), "question": line.pop("title"), **line}


def ends(steps: Sequence[Ledger[Any]], intake: Ledger[Any]) -> Iterator[Dropped | Failed | None]:
    """How each row that has come this far ended; ``None`` where it is through the last stage or still owed one."""
    ledgers = [*reversed(steps), intake]
    for row in range(max(len(ledger.rows()) for ledger in ledgers)):
        for ledger in ledgers:
            status = ledger.status(row)
            if status in {Status.DROPPED, Status.FAILED}:
                outcome = ledger.read(row)
                assert not isinstance(outcome, Done)
                yield outcome
            if status is not Status.NONE:
                break


def totals(rows: int, steps: Sequence[Ledger[Any]], intake: Ledger[Any]) -> Totals:
    """Count where ``rows`` input rows stand. Blocks."""
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for outcome in ends(steps, intake):
        if isinstance(outcome, Dropped):
            dropped[outcome.reason] += 1
        elif isinstance(outcome, Failed):
            failed[f"{outcome.stage}/{outcome.kind}"] += 1
    last = steps[-1]
    emitted = sum(last.status(row) is Status.DONE for row in last.rows())
    unfinished = rows - emitted - dropped.total() - failed.total()
    return Totals(
        rows=rows, emitted=emitted, dropped=dict(dropped), failed=dict(sorted(failed.items())), unfinished=unfinished
    )
