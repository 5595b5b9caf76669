"""Reads the input line by line, in bounded memory; a line that is no question is reported, never skipped."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Raw, Struct

from weak2wise.config import Columns
from weak2wise.errors import ConfigError, Kind
from weak2wise.ledger.outcomes import Failed

LONGEST_LINE = 64 << 20
"""Bytes; a longer line is no question but a file in another format."""

_BATCH = 1 << 20
_NUMBER_STARTS = frozenset(b"-0123456789"[i : i + 1] for i in range(11))
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


class InputRow(Struct, frozen=True):
    """One good line: its number from 1, the input's own id for it if any, and the two texts."""

    number: int
    id: str | None
    question: str
    answer: str


async def read_rows(path: Path, columns: Columns) -> AsyncIterator[InputRow | Failed]:
    """Yield every non-blank line of a JSONL file in order, read on a thread a megabyte at a time.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            number = 0
            while lines := await asyncio.to_thread(_next_lines, file):
                for line in lines:
                    number += 1
                    text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                    if text.strip():
                        yield parse_row(number, text, columns)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror} (dataset.input_path)") from None


def _next_lines(file: BinaryIO) -> list[bytes]:
    lines = []
    size = 0
    while size < _BATCH and (line := file.readline(LONGEST_LINE + 1)):
        size += len(line)
        lines.append(line)
        while len(line) > LONGEST_LINE and not line.endswith(b"\n") and line:
            line = file.readline(LONGEST_LINE + 1)  # the rest of a line that is too long
    return lines


def parse_row(number: int, line: bytes, columns: Columns) -> InputRow | Failed:
    """Read one line; what is wrong with it, if anything, is said in a ``Failed`` of stage ``input``."""
    if len(line) > LONGEST_LINE:
        return _bad(number, "too_long", f"longer than {LONGEST_LINE >> 20} MiB")
    try:
        line.decode()
        fields = _OBJECT.decode(line)
    except UnicodeDecodeError:
        return _bad(number, "not_utf8", "not UTF-8; convert the file first")
    except msgspec.DecodeError as error:
        return _bad(number, "not_json", f"not a JSON object on one line: {error}")
    try:
        question = _text(fields, columns.question, "dataset.columns.question")
        answer = _text(fields, columns.answer, "dataset.columns.answer", number_too=True)
        own_id = fields.get(columns.id)
        name = None if own_id is None else _literal(bytes(own_id))
    except (ValueError, msgspec.DecodeError) as error:
        return _bad(number, "bad_field", str(error))
    return InputRow(number, name, question, answer)


def _text(fields: dict[str, Raw], key: str, setting: str, *, number_too: bool = False) -> str:
    if key not in fields:
        raise ValueError(f"no field {key!r} (there are: {', '.join(fields)[:200] or 'none'}); {setting} names it")
    written = bytes(fields[key])
    text = _literal(written) if number_too or written.startswith(b'"') else None
    if text is None:
        raise ValueError(f"field {key!r}: expected text{' or a number' if number_too else ''}")
    if not text.strip():
        raise ValueError(f"field {key!r} is empty")
    return text


def _literal(written: bytes) -> str | None:
    """A JSON text's content or a number as it is written; ``None`` for anything else."""
    if written.startswith(b'"'):
        return msgspec.json.decode(written, type=str)
    return written.decode() if written[:1] in _NUMBER_STARTS else None


def _bad(number: int, kind: Kind, message: str) -> Failed:
    return Failed(row=number, stage="input", kind=kind, message=f"line {number}: {message}")
