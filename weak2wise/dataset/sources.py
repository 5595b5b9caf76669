"""Every input format as numbered JSON objects, one after another in bounded memory, so that one reader checks them all.

A row that cannot be read from its format is a ``Broken``. Only that row is lost, if the format allows to read the rest.
"""

import csv
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from weak2wise.dataset.hub import is_hub, stream
from weak2wise.dataset.unpack import unpacked
from weak2wise.errors import FORMATS, ConfigError, Kind

LONGEST_LINE = 64 << 20
"""Bytes; a longer line is not a question, but a file in another format."""

_CHUNK = 1 << 20


class Broken(NamedTuple):
    """A row that cannot be read, and why."""

    number: int
    kind: Kind
    message: str


class Written(NamedTuple):
    """A row as JSON, not checked yet. ``number`` counts from 1: lines of a file of lines, else rows."""

    number: int
    json: bytes


Rows = Iterator[Written | Broken]


@contextmanager
def naming_setting(setting: str) -> Iterator[None]:
    """Add to the message about a file that cannot be read which setting names the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error} ({setting})") from None


def unit(source: Path) -> str:
    """What the numbers of a source's rows count."""
    return "row" if is_hub(source) or source.suffix in {".json", ".csv", ".parquet"} else "line"


def rows_of(source: Path) -> Rows:
    """Every row of a file, or of ``hf:owner/name``, in order. Blocks.

    Raises:
        ConfigError: it cannot be read, or is damaged; the message names the last good row.
    """
    number = 0
    try:
        for row in _rows_of(source):
            number = row.number
            yield row
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise _unreadable(source, number, said) from None


def _rows_of(source: Path) -> Rows:
    if is_hub(source):
        return _encoded(stream(source))
    match source.suffix:
        case ".json":
            return _array(source)
        case ".csv":
            return _csv(source)
        case ".parquet":
            return _encoded(_parquet(source))
    return _lines(source)


def _unreadable(source: Path, number: int, why: str) -> ConfigError:
    after = f" after {unit(source)} {number:,}" if number else ""
    return ConfigError(f"{source}: cannot be read{after}: {why}")


def _lines(source: Path) -> Rows:
    with unpacked(source) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield Written(number, text)
            while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE + 1)  # the rest of a line that is too long
                if not line:
                    break


def _array(source: Path) -> Rows:
    """A JSON array element by element, each as it is written; a file that begins otherwise is taken for JSON lines."""
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        text = file.read(_CHUNK).lstrip()
        if not text.startswith("["):
            yield from _lines(source)
            return
        decoder, number, at = json.JSONDecoder(), 1, 1
        while True:
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
            if text.startswith("]", at):
                if rest := _text_after(text, at + 1, file):
                    yield Broken(number, "not_json", f"the array has ended, and this follows it: {rest!r}")
                return
            try:
                _, end = decoder.raw_decode(text, at)
                why = ""
            except (json.JSONDecodeError, RecursionError) as error:
                end, why = len(text), f"no JSON, and nothing behind it can be read: {error}"
            if end == len(text):
                # Longer than what was read so far, or broken: only the rest of the file shows which.
                more = file.read(max(_CHUNK, len(text) - at)) if end - at <= LONGEST_LINE else ""
                if more:
                    text, at = text[at:] + more, 0
                    continue
            if why:
                yield Broken(number, "not_json", why)
                return
            yield Written(number, text[at:end].encode(errors="surrogateescape"))
            number, at = number + 1, end


def _text_after(text: str, at: int, file: TextIO) -> str:
    """The beginning of the text that follows an array; empty if that is only white space."""
    rest = text[at:].strip()
    while not rest and (more := file.read(_CHUNK)):
        rest = more.strip()
    return rest[:30]


def _csv(source: Path) -> Rows:
    """Rows under a header, by RFC 4180."""
    csv.field_size_limit(LONGEST_LINE)
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise ConfigError(f"{source}: its header is not valid CSV: {error}") from None
        if twice := [name for name, count in Counter(header).items() if count > 1]:
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
                yield Written(number, msgspec.json.encode(dict(zip(header, fields, strict=True))))
            except UnicodeEncodeError:
                yield Broken(number, "not_utf8", "not UTF-8; convert the file first")


def _parquet(source: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"{source}: Parquet needs pyarrow: {FORMATS}") from None
    try:
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise OSError(str(error).partition("\n")[0]) from None


def _encoded(rows: Iterator[dict[str, Any]]) -> Rows:
    encode = msgspec.json.Encoder(enc_hook=str).encode
    for number, row in enumerate(rows, 1):
        yield Written(number, encode(row))
