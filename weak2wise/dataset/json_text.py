"""Rows from JSON: an object a line, or an array of objects, alone or under a key such as ``data``."""

import io
import json
import re
from pathlib import Path
from typing import TextIO

from weak2wise.dataset.raw import LONGEST_LINE, Broken, Rows, Written
from weak2wise.dataset.unpack import unpacked
from weak2wise.errors import ConfigError

_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_UNDER_A_KEY = re.compile(r'\{\s*"(?:data|rows|questions|problems|examples|items)"\s*:\s*\[')
_OTHER_FORMATS = {
    b"\x1f\x8b": "gzip; its name must end in .gz",
    b"\x28\xb5\x2f\xfd": "zstandard; its name must end in .zst",
    b"PAR1": "Parquet; its name must end in .parquet",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"SQLite format 3": "an SQLite database; export the questions as CSV",
    b"\xff\xfe": "UTF-16; convert it to UTF-8",
    b"\xfe\xff": "UTF-16; convert it to UTF-8",
}
"""What else a file that should be text may be, by its first bytes."""


def lines(source: Path) -> Rows:
    """JSON lines. Blocks.

    Raises:
        ConfigError: the file holds something else, so that every line would be wrong.
        OSError, EOFError, zlib.error: it is damaged.
    """
    check_text(source)
    with unpacked(source) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield Written(number, text)
            while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE + 1)  # the rest of a line that is too long
                if not line:
                    break


def check_text(source: Path) -> None:
    """Check by its beginning that a file is text, and lines if it is JSON. Raises ``ConfigError``."""
    head = _head(source)
    for first, name in _OTHER_FORMATS.items():
        if head.startswith(first):
            raise ConfigError(f"{source}: is {name}")
    first = head.removeprefix(_BOM).lstrip().partition(b"\n")[0].rstrip()
    if first == b"{":
        raise ConfigError(f"{source}: is one JSON object over many lines; expected one object a line, or an array")
    if first == b"[" or first.startswith((b"[{", b"[ {")):
        raise ConfigError(f"{source}: is a JSON array; its name must end in .json")


def array(source: Path) -> Rows:
    """A JSON array element by element, each as it is written; a file that begins otherwise is taken for JSON lines.

    Blocks; raises as ``lines``.
    """
    head = _head(source).removeprefix(_BOM).lstrip()
    under_key = _UNDER_A_KEY.match(head.decode(errors="replace"))
    if not under_key and not head.startswith(b"["):
        yield from lines(source)
        return
    with unpacked(source) as packed:
        file = io.TextIOWrapper(packed, encoding="utf-8-sig", errors="surrogateescape")
        text = file.read(_CHUNK).lstrip()
        yield from _elements(text, under_key.end() if under_key else 1, file, closing="}" if under_key else "")


def _head(source: Path) -> bytes:
    with unpacked(source) as file:
        return file.read(_CHUNK)


def _elements(text: str, at: int, file: TextIO, closing: str) -> Rows:
    """The elements of an array whose text continues in a file; ``closing`` may follow the array."""
    decoder, number = json.JSONDecoder(parse_int=str), 1  # an integer of thousands of digits would be refused
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if text.startswith("]", at):
            if rest := _text_after(text, at + 1, file).removeprefix(closing).lstrip():
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
