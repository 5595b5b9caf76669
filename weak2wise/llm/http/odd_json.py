"""Decodes JSON as providers send it, which is not always JSON, without building objects that nobody asked for.

Providers send NaN, raw line breaks inside strings, and halves of surrogate pairs. What msgspec refuses is read once
more by the tolerant parser of the standard library, if it is small enough: that one builds everything it reads.
"""

import json
from typing import TypeVar

import msgspec
from msgspec import Raw

from weak2wise.llm.errors import Transient

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises: invalid JSON or UTF-8, another shape, a number too large, or nesting too deep."""
MOST_TOLERATED = 2 << 20
"""Bytes. An answer of 300,000 tokens is smaller; one hostile byte in three could make an object of sixty."""

_NOTHING = {b"", b"null", b"false", b'""', b"{}", b"[]", b"0"}
_STRING = msgspec.json.Decoder(str | None)
_T = TypeVar("_T")


def decode(decoder: "msgspec.json.Decoder[_T]", data: bytes | Raw, name: str) -> _T:
    """Decode a part of an answer of the endpoint ``name``. Raises ``Transient``."""
    try:
        return decoder.decode(data)
    except UNREADABLE as error:
        reason = error
    try:
        return decoder.decode(_standard(bytes(data)))
    except UNREADABLE:
        message = f"{name}: the answer is not valid JSON of the expected shape: {reason}"
        raise Transient("malformed", message, endpoint=name) from None


def string_in(raw: Raw, name: str) -> str | None:
    """The string in a piece of JSON, empty if it is absent or null; ``None`` if it holds anything else.

    Halves of surrogate pairs stay as they are. Raises ``Transient``.
    """
    if not raw:
        return ""
    try:
        return _STRING.decode(raw) or ""
    except msgspec.ValidationError:
        return None
    except UNREADABLE as error:
        reason = error
    try:
        return str(json.loads(bytes(raw).decode("utf-8", "surrogatepass"), strict=False))
    except UNREADABLE:
        raise Transient("malformed", f"{name}: the answer is not valid text: {reason}", endpoint=name) from None


def says_something(raw: Raw) -> bool:
    """Whether a piece of JSON holds anything but nothing: null, false, 0, or an empty string, list or object."""
    return bool(raw) and bytes(raw) not in _NOTHING


def whole_characters(text: str) -> str:
    """The text with halves of surrogate pairs joined, and replaced by U+FFFD where the other half is missing.

    Text with half a pair cannot be written to any file.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _standard(data: bytes) -> bytes:
    """The same in standard JSON, except that halves of surrogate pairs are kept, as bytes. Raises ``UNREADABLE``."""
    if len(data) > MOST_TOLERATED:
        raise ValueError(len(data))
    found = json.loads(data, strict=False, parse_constant=lambda _: None)
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")
