"""Rows from tables: CSV under a header, Parquet, and records of other libraries."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.dataset.json_text import check_text
from weak2wise.dataset.raw import LONGEST_LINE, Broken, Rows, Written
from weak2wise.dataset.unpack import unpacked
from weak2wise.errors import FORMATS, ConfigError

_SEPARATORS = ",;\t|"
_NOT_UTF8 = "not UTF-8; convert the file first"
_NO_VALUE = (ValueError, OverflowError)
"""What pyarrow raises for text that is not UTF-8, and for a date or time that Python cannot hold."""
_ENCODE = msgspec.json.Encoder(enc_hook=str).encode


def csv_rows(source: Path) -> Rows:
    """Rows under a header, by RFC 4180; a semicolon, tab or bar may separate fields, as spreadsheets write them.

    Columns without a name are left out. Blocks.

    Raises:
        ConfigError: the header cannot be used, or the file is not text.
        OSError, EOFError, zlib.error: it is damaged.
    """
    check_text(source)
    csv.field_size_limit(LONGEST_LINE)
    with unpacked(source) as packed:
        file = io.TextIOWrapper(packed, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(file, strict=True, delimiter=_separator(source))
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise ConfigError(f"{source}: its header is not valid CSV: {error}") from None
        named = [(at, name) for at, name in enumerate(header) if name.strip()]
        if twice := [name for name, count in Counter(name for _, name in named).items() if count > 1]:
            raise ConfigError(f"{source}: its header names {twice[0]!r} twice, so that it is not clear which is meant")
        number = 0
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                number += 1
                yield Broken(number, "bad_field", f"no CSV (near line {reader.line_num}): {error}")
                continue
            if fields is None:
                return
            if not fields:
                continue
            number += 1
            if len(fields) != len(header):
                yield Broken(number, "bad_field", f"{len(fields)} fields, but the header has {len(header)}")
                continue
            try:
                yield Written(number, msgspec.json.encode({name: fields[at] for at, name in named}))
            except UnicodeEncodeError:
                yield Broken(number, "not_utf8", _NOT_UTF8)


def _separator(source: Path) -> str:
    """What separates the fields of the first line; a comma if nothing does."""
    with unpacked(source) as file:
        first = file.readline(LONGEST_LINE).decode(errors="replace")

    def fields(separator: str) -> int:
        try:
            return len(next(csv.reader([first], delimiter=separator), []))
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=fields)


def parquet_rows(source: Path) -> Rows:
    """Rows of a Parquet file. Columns of bytes are read as UTF-8. Blocks.

    Raises:
        ConfigError: pyarrow is not installed.
        OSError: the file is damaged.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"{source}: Parquet needs pyarrow: {FORMATS}") from None
    number = 0
    try:
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=256):
                for read in _readable(batch):
                    number += 1
                    yield _record(number, read) if isinstance(read, dict) else Broken(number, "bad_field", read)
    except pa.ArrowException as error:
        raise OSError(str(error).partition("\n")[0]) from None


def _readable(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Each row of a record batch, or why Python cannot hold it."""
    try:
        yield from batch.to_pylist()
    except _NO_VALUE:
        yield from (_cells(batch, at) for at in range(batch.num_rows))


def _cells(batch: Any, at: int) -> dict[str, Any] | str:
    row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = column[at].as_py()
        except _NO_VALUE as error:
            return f"field {name!r}: {error}"
    return row


def encoded(rows: Iterator[dict[str, Any]]) -> Rows:
    """Records as numbered rows. Text in bytes is read as UTF-8."""
    return (_record(number, row) for number, row in enumerate(rows, 1))


def _record(number: int, row: dict[str, Any]) -> Written | Broken:
    try:
        fields = {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}
        return Written(number, _ENCODE(fields))
    except UnicodeError:
        return Broken(number, "not_utf8", _NOT_UTF8)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return Broken(number, "bad_field", f"cannot be written as JSON: {error}")
