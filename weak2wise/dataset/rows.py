"""Checks the input row by row; a row that is not a valid question is reported, never skipped."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from weak2wise.config import Columns
from weak2wise.dataset.hub import is_hub
from weak2wise.dataset.raw import LONGEST_LINE, Broken, Rows, Written
from weak2wise.dataset.sources import layout, naming_setting, rows_of, unit
from weak2wise.dataset.unpack import COMPRESSED
from weak2wise.errors import ConfigError, Kind
from weak2wise.ledger.account import INPUT
from weak2wise.ledger.outcomes import Failed

_BATCH_BYTES = 1 << 20
_BATCH_ROWS = 1000
_LOOKED_AT = 100
_QUESTION_NAMES = ("question", "problem", "prompt")
_NUMBER_STARTS = frozenset(b"-0123456789"[i : i + 1] for i in range(11))
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


class InputRow(Struct, frozen=True):
    """One valid row: its number from 1, the input's own id for it if any, and the two texts."""

    number: int
    id: str | None
    question: str
    answer: str


async def read_rows(
    source: Path,
    columns: Columns,
    check: Callable[[], None] = lambda: None,
    wanted: Callable[[int], bool] = lambda _row: True,
) -> AsyncIterator[InputRow | Failed]:
    """Yield the rows of the input in order, read on a thread a megabyte at a time.

    Args:
        source: the input.
        columns: its field names.
        check: called after each megabyte, before its rows are yielded, and at the end; what it raises is raised.
        wanted: called with each row's number, in order; a row for which it says no is not looked at nor yielded.

    Raises:
        ConfigError: it cannot be read.
    """
    rows, unit_name = rows_of(source), unit(source)
    while batch := await asyncio.to_thread(_next_rows, rows, check):
        for row in batch:
            if wanted(row.number):
                yield parse_row(row, columns, unit_name)


def _next_rows(rows: Rows, check: Callable[[], None]) -> list[Written | Broken]:
    batch: list[Written | Broken] = []
    size = 0
    with naming_setting("dataset.input_path"):
        for row in rows:
            batch.append(row)
            size += len(row.json) if isinstance(row, Written) else 0
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_ROWS:
                break
        check()
    return batch


def read_valid_rows(source: Path, columns: Columns) -> Iterator[InputRow]:
    """The rows that are valid questions. Blocks; raises ``ConfigError``."""
    for row in rows_of(source):
        if isinstance(parsed := parse_row(row, columns), InputRow):
            yield parsed


def count_rows(source: Path) -> int:
    """How many rows ``read_rows`` yields. Blocks; raises ``ConfigError``."""
    return sum(1 for _ in rows_of(source))


def check_rows(source: Path, columns: Columns) -> None:
    """Check that the input has rows, and that not all of the first hundred lack a field that is needed. Blocks.

    Raises:
        ConfigError: it has none, all lack one, or it cannot be read.
    """
    with naming_setting("dataset.input_path"):
        first = list(islice(rows_of(source), _LOOKED_AT))
        if not first:
            raise ConfigError(f"{source}: holds no questions, so there is nothing to do")
    found = [fields for row in first if (fields := _fields(row)) is not None]
    for setting in ("question", "answer"):
        key = getattr(columns, setting)
        if found and not any(key in fields for fields in found):
            names = ", ".join(dict.fromkeys(name for fields in found for name in fields))[:200] or "none"
            raise ConfigError(
                f"{source}: none of the first {len(first):,} rows has a field {key!r} (there are: {names}); name the "
                f"right one (dataset.columns.{setting})"
            )


def _fields(row: Written | Broken) -> dict[str, Raw] | None:
    """The fields of a row; ``None`` if it is not an object."""
    if isinstance(row, Written) and len(row.json) <= LONGEST_LINE:
        with suppress(msgspec.DecodeError):
            return _OBJECT.decode(row.json)
    return None


def read_values(source: Path, column: str) -> Iterator[tuple[int, str]]:
    """The number of every row that has the column, with its value as it is written. Blocks; raises ``ConfigError``."""
    for row in rows_of(source):
        if isinstance(row, Written):
            try:
                value = _OBJECT.decode(row.json).get(column)
            except msgspec.DecodeError:
                continue
            if value is not None:
                yield row.number, bytes(value).decode(errors="replace")


def read_questions(source: Path, columns: Columns) -> Iterator[str]:
    """The questions of an evaluation set, from the input's question column or one with a usual name.

    Blocks.

    Raises:
        ConfigError: it cannot be read, has no rows, or a row has no question.
    """
    row: Written | Broken | None = None
    with naming_setting("dataset.decontaminate"):
        for row in rows_of(source):
            fields = {}
            if isinstance(row, Written):
                with suppress(msgspec.DecodeError):
                    fields = _OBJECT.decode(row.json)
            texts = [bytes(fields[name]) for name in (columns.question, *_QUESTION_NAMES) if name in fields]
            if not texts or not texts[0].startswith(b'"'):
                names = " or ".join(dict.fromkeys((columns.question, *_QUESTION_NAMES)))
                raise ConfigError(f"{source}: {unit(source)} {row.number}: expected a question in the field {names}")
            yield msgspec.json.decode(texts[0], type=str)
        if row is None:
            raise ConfigError(f"{source}: holds no questions, so there is nothing to compare the input with")


def parse_row(row: Written | Broken, columns: Columns, unit_name: str = "line") -> InputRow | Failed:
    """Read one row; if it is not valid, a ``Failed`` of stage ``input`` says what is wrong with it."""
    if isinstance(row, Broken):
        return _bad(row.number, row.kind, row.message, unit_name)
    number, line = row
    if len(line) > LONGEST_LINE:
        return _bad(number, "too_long", f"longer than {LONGEST_LINE >> 20} MiB", unit_name)
    try:
        line.decode()
        fields = _OBJECT.decode(line)
    except UnicodeDecodeError:
        return _bad(number, "not_utf8", "not UTF-8; convert the file first", unit_name)
    except msgspec.DecodeError as error:
        return _bad(
            number, "not_json", f"not a JSON object{' on one line' if unit_name == 'line' else ''}: {error}", unit_name
        )
    try:
        question = _text(fields, columns.question, "dataset.columns.question")
        answer = _text(fields, columns.answer, "dataset.columns.answer", number_too=True)
        own_id = fields.get(columns.id)
        name = None if own_id is None else _literal(bytes(own_id))
    except (ValueError, msgspec.DecodeError) as error:
        return _bad(number, "bad_field", str(error), unit_name)
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


def _bad(number: int, kind: Kind, message: str, unit_name: str) -> Failed:
    return Failed(row=number, stage=INPUT, kind=kind, message=f"{unit_name} {number}: {message}")


_NOT_APPENDABLE = {".json", ".parquet"} | COMPRESSED
"""Formats in which new rows at the end change the bytes before them."""


def unreadable_advice(count: int, failed: Path, source: Path) -> str:
    """What to do about input rows that are not valid questions: trying them again changes nothing."""
    what = f"{unit(source)}{'' if count == 1 else 's'}"
    message = f"{count:,} input {what} cannot be read, see {failed}. Trying again does not fix that: "
    if is_hub(source) or {layout(source), source.suffix.lower()} & _NOT_APPENDABLE:
        return message + "put corrected rows into an input with a work_dir of its own"
    return message + "append corrected lines to the input and go on with --resume force"
