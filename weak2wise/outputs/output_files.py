"""The output files of a finished run: one for each step, and the list of failures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Failed, columns_of
from weak2wise.outputs.claim import Claim
from workers.method import METHOD, Step


def write_output_files(
    files: Mapping[Path, Step],
    records: Callable[[Step], Iterable[Any]],
    failures: Path,
    failed: Iterable[Failed],
    *,
    claim: Claim | None,
    note: Callable[[Any], None],
) -> None:
    """Write each step's file and the list of failures, in input order and atomically.

    Blocks.

    Args:
        files: the path to write for each step.
        records: those of a step, in input order.
        failures: the file for the rows that failed.
        failed: these rows, in input order.
        claim: writes the last step's file; ``None`` if that step is not among them.
        note: called with every record, so that nobody has to read them once more.

    Raises:
        OSError: a file cannot be written.
        ConfigError: the claim does not hold any more.
    """
    encode = msgspec.json.Encoder().encode

    def lines_of(step: Step) -> Iterator[bytes]:
        for record in records(step):
            note(record)
            for line in step.lines(record):
                yield encode(line)
                yield b"\n"

    for path, step in files.items():
        lines = lines_of(step)
        if claim is not None and step is METHOD[-1]:
            claim.write(lines)
        else:
            write_atomic(path, lines)
    write_atomic(failures, (encode(_failed_line(row)) + b"\n" for row in failed))


def _failed_line(failed: Failed) -> dict[str, Any]:
    line = columns_of(failed)
    return {"row": line.pop("row"), "id": line.pop("id"), "question": line.pop("title"), **line}
