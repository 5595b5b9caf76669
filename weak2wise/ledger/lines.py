"""One line of a ledger: JSON with a checksum as its first key, and how to tell it from what a damaged disk holds.

``{"xxh64":"0123456789abcdef","row":…}``: the XXH64 of all bytes behind the checksum's comma, without the line break.
A flipped byte is noticed wherever it is: in the checksum's own key it makes a beginning that no line has. Lines of
versions before checksums begin with one of ``_EARLIER`` and are read as they are.
"""

import json
from codecs import getincrementaldecoder

from xxhash import xxh64_intdigest

_KEY = b'{"xxh64":"'
_HEAD = b'{"xxh64":"%016x",'
HEAD = len(_HEAD % 0)
"""The length of what stands in the place of a line's opening brace."""
_EARLIER = (b'{"row":', b'{"status":"')

_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip"}


class Damaged(ValueError):
    """A line is not what was written."""


def head_of(rest: bytes) -> bytes:
    """The beginning of a line, up to ``rest``: what follows its opening brace."""
    return _HEAD % xxh64_intdigest(rest)


def sealed(line: bytes) -> bytes:
    """A line as it is written: with its checksum and its line break."""
    rest = line[1:]
    return b"".join((head_of(rest), rest, b"\n"))


def verify(line: bytes) -> None:
    """Check a line with its line break. Raises ``Damaged``."""
    if line[:HEAD] == head_of(line[HEAD:-1]):
        return
    if line.startswith(_KEY):
        raise Damaged("its checksum does not match")
    if not line.startswith(_EARLIER):
        raise Damaged(packed(line) or "it does not begin as a line of a ledger")


def packed(start: bytes) -> str:
    """That a program has packed the file which begins like this; empty if none has."""
    return next(
        (f"{name} has packed the file; unpack it" for magic, name in _PACKED.items() if start.startswith(magic)), ""
    )


def is_torn(end: bytes) -> bool:
    """Whether bytes without a line break, at a file's end, are what a power cut leaves: the beginning of a line, zeros.

    Not if a whole line and something else stand there: then its line break is damaged.
    """
    begun = end.rstrip(b"\0")
    if not any(begun[: len(key)] == key[: len(begun)] for key in (_KEY, *_EARLIER)):
        return False
    try:
        text = getincrementaldecoder("utf-8")().decode(begun)  # a character may be cut in two, too
        return min(text, default=" ") >= " " and json.JSONDecoder(parse_int=str).raw_decode(text)[1] == len(text)
    except json.JSONDecodeError:
        return True
    except (UnicodeDecodeError, RecursionError):
        return False
