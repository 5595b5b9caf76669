"""The output files of a finished run: one for each step, and the list of failures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.ledger.account import Account
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.outcomes import Failed, columns_of
from weak2wise.outputs.claim import Claim
from workers.method import METHOD, Step


def write_output_files(files: Mapping[Path, Step], account: Account, failures: Path, claim: Claim | None) -> None:
    """Write each step's file and the list of failures, in input order and atomically.

    Blocks.

    Args:
        files: the path to write for each step.
        account: the state of all rows, with the steps' ledgers.
        failures: the file for the rows that failed.
        claim: writes the last step's file; ``None`` if that step is not among them.

    Raises:
        OSError: a file cannot be written.
        ConfigError: the claim does not hold any more.
    """
    encode = msgspec.json.Encoder().encode
    for path, step in files.items():
        records = account.steps[step.name].records()
        lines = (encode(line) + b"\n" for record in records for line in step.lines(record))
        if claim is not None and step is METHOD[-1]:
            claim.write(lines)
        else:
            write_atomic(path, lines)
    write_atomic(failures, (encode(_failed_line(failed)) + b"\n" for failed in account.failures()))


def _failed_line(failed: Failed) -> dict[str, Any]:
    line = columns_of(failed)
    return {"row": line.pop("row"), "id": line.pop("id"), "question": line.pop("title"), **line}
