"""One line of results: an answer, why there is none, or that the request was not worked off."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from weak2wise.llm.errors import ModelError, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.odd_json import UNREADABLE, says_something
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.model import Completion

_UNANSWERED = frozenset({"batch_expired", "batch_cancelled", "batch_canceled", "request_expired", "request_cancelled"})


class NotWorkedOff(Struct, frozen=True):
    """The batch ended before this request's turn came. It costs nothing."""


class _Response(Struct):
    status_code: Any = None
    body: Raw = Raw()


class _Result(Struct):
    custom_id: str
    response: _Response | None = None
    error: Raw = Raw()


class _Error(Struct):
    code: Any = None
    message: Any = None


_RESULT = msgspec.json.Decoder(_Result)
_ERROR = msgspec.json.Decoder(_Error)
_TEXT = msgspec.json.Decoder(str)

Outcome = Completion | ModelError | Unusable | NotWorkedOff


def read_result(line: bytes, name: str) -> tuple[str, Outcome] | None:
    """The ``custom_id`` of a line and what it says; ``None`` if it cannot be read.

    Args:
        line: of a file of results.
        name: the endpoint's.
    """
    try:
        found = _RESULT.decode(line)
    except UNREADABLE:
        return None
    return found.custom_id, _outcome(found, name)


def _outcome(found: _Result, name: str) -> Outcome:
    response = found.response
    status = response.status_code if response and isinstance(response.status_code, int) else None
    body = _unwrapped(response.body) if response else b""
    if says_something(found.error):
        if _code(found.error) in _UNANSWERED:
            return NotWorkedOff()
        if not body:
            return error_for(status or None, b'{"error":%b}' % bytes(found.error), name)
    if not body:
        return Transient("malformed", f"{name}: a result without an answer (status {status})", endpoint=name)
    if status and status != 200:
        return error_for(status, body, name)
    try:
        return parse_reply(body, name)
    except (ModelError, Unusable) as error:
        return error


def _unwrapped(body: Raw) -> bytes:
    """The JSON of a body, also where it is written as a text; empty if it says nothing."""
    if not says_something(body):
        return b""
    plain = bytes(body)
    if plain[:1] != b'"':
        return plain
    try:
        return _TEXT.decode(plain).encode()
    except UNREADABLE:
        return plain


def _code(error: Raw) -> str:
    try:
        return str(_ERROR.decode(error).code).casefold()
    except UNREADABLE:
        return ""
