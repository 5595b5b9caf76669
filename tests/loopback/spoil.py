"""Replies spoilt on purpose, one function or one line of a table for each kind of fault.

A fault's shape does not depend on what the client wants: one that spoils JSON answers in JSON, one that spoils an event
stream answers with a stream. ``whole`` stays true only where any careful client gets the full answer.
"""

import math
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate
from functools import cache

from msgspec.structs import replace

from tests.loopback.answers import Answer
from tests.loopback.faults import Fault, Kind
from tests.loopback.replies import (
    Exchange,
    Reply,
    completion_of,
    encode,
    error,
    error_body,
    events,
    http,
    stream,
    whole_reply,
)

HUGE = 100 << 20
"""Bytes of white space in front of the answer, in the huge body and in the unpacked gzip bomb."""
STUCK = "!" * 60_000 + "x" + "." * 60_000 + "x\n"
_MEGABYTE = b" " * (1 << 20)

_TOO_MANY = (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests.")
_REFUSALS: dict[Kind, tuple[int, str, str | None, str]] = {
    "429": _TOO_MANY,
    "429_date": _TOO_MANY,
    "429_bare": _TOO_MANY,
    "429_storm": _TOO_MANY,
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "503": (503, "service_unavailable_error", None, "The engine is currently overloaded."),
    "408": (408, "timeout", None, "The request was not received in time."),
    "400": (400, "invalid_request_error", None, "Invalid value for 'temperature'."),
    "400_context": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    ),
    "401": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    "402": (402, "unknown_error", "invalid_request_error", "Insufficient Balance"),
    "403": (403, "permission_error", None, "This key may not use this model."),
    "404": (404, "invalid_request_error", "model_not_found", "The model does not exist or you have no access to it."),
    "429_quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
}


def spoilt_reply(exchange: Exchange, fault: Fault) -> Reply:
    """The reply with the fault in it."""
    if fault.fault in _REFUSALS:
        status, type_, code, message = _REFUSALS[fault.fault]
        return error(status, message, type_=type_, code=code, headers=_retry_after(fault))
    return _SPOILERS[fault.fault](exchange, fault)


def _retry_after(fault: Fault) -> str:
    match fault.fault:
        case "429" | "429_storm":
            return f"Retry-After: {fault.retry_after:g}\r\n"
        case "429_date":
            return f"Retry-After: {formatdate(math.ceil(time.time() + fault.retry_after), usegmt=True)}\r\n"
        case _:
            return ""


def _refused_in_words(_exchange: Exchange, fault: Fault) -> Reply:
    """Gemini's refusal by the minute, which reads like spent credit, and comes in a list."""
    message = (
        f"You exceeded your current quota, please check your plan and billing. Please retry in {fault.retry_after}s."
    )
    body = [{"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}}]
    return Reply((http(encode(body), status=429),))


def _moderated(_exchange: Exchange, _fault: Fault) -> Reply:
    """OpenRouter's refusal of a prompt."""
    error = {"code": 403, "message": "Your input was flagged for violence.", "metadata": {"reasons": ["violence"]}}
    return Reply((http(encode({"error": error}), status=403),))


def _latin1_error(_exchange: Exchange, _fault: Fault) -> Reply:
    return Reply((http(b'{"error": {"message": "caf\xe9 closed"}}', status=500),))


def _deep_nesting(exchange: Exchange, _fault: Fault) -> Reply:
    nested = b'{"notes":' + b"[" * 5000 + b"]" * 5000 + b","
    return Reply((http(nested + _plain_body(exchange).removeprefix(b"{")),))


def _plain_body(exchange: Exchange) -> bytes:
    return encode(completion_of(exchange))


def _bytes_and_half(exchange: Exchange) -> tuple[bytes, int]:
    """The plain reply as one string, and where the middle of its body is."""
    sent = b"".join(part for part in whole_reply(exchange).parts if isinstance(part, bytes))
    return sent, (sent.index(b"\r\n\r\n") + 4 + len(sent)) // 2


def _half(exchange: Exchange) -> bytes:
    sent, middle = _bytes_and_half(exchange)
    return sent[:middle]


def _bad_gateway(_exchange: Exchange, _fault: Fault) -> Reply:
    body = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    return Reply((http(body, status=502, type_="text/html"),))


def _reset_before_headers(_exchange: Exchange, _fault: Fault) -> Reply:
    return Reply((), end="reset")


def _reset_in_body(exchange: Exchange, _fault: Fault) -> Reply:
    return Reply((_half(exchange), 0.02), end="reset")  # without the pause, the reset may overtake the bytes


def _hang_before_headers(_exchange: Exchange, fault: Fault) -> Reply:
    return Reply((_lasting(fault, 3600),), end="close")


def _hang_in_body(exchange: Exchange, fault: Fault) -> Reply:
    return Reply((_half(exchange), _lasting(fault, 3600)), end="close")


def _lasting(fault: Fault, otherwise: float) -> float:
    return float(otherwise if fault.seconds is None else fault.seconds)


def _slow_drip(exchange: Exchange, fault: Fault) -> Reply:
    sent, _ = _bytes_and_half(exchange)
    size = math.ceil(len(sent) / 20)
    drops = [sent[at : at + size] for at in range(0, len(sent), size)]
    pause = _lasting(fault, 1) / len(drops)
    return Reply(tuple(part for drop in drops for part in (pause, drop)), whole=True)


def _wrong_length(exchange: Exchange, _fault: Fault) -> Reply:
    body = _plain_body(exchange)
    return Reply((http(body, length=len(body) + 100),), end="close")


def _truncated_json(exchange: Exchange, _fault: Fault) -> Reply:
    body = _plain_body(exchange)
    return Reply((http(body[: len(body) // 2]),))


def _no_choices(exchange: Exchange, _fault: Fault) -> Reply:
    body = completion_of(exchange)
    del body["choices"]
    return Reply((http(encode(body)),))


def _null_content(exchange: Exchange, _fault: Fault) -> Reply:
    body = completion_of(exchange)
    body["choices"] = [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": None}]
    return Reply((http(encode(body)),))


def _empty_content(exchange: Exchange, _fault: Fault) -> Reply:
    return _answering(exchange, replace(exchange.answer, content="", reasoning=None), "stop")


def _empty_length(exchange: Exchange, _fault: Fault) -> Reply:
    """All tokens went into thinking that is not shown."""
    return _answering(exchange, replace(exchange.answer, content="", reasoning=None), "length")


def _parts_content(exchange: Exchange, _fault: Fault) -> Reply:
    text = exchange.answer.content
    parts = [{"type": "text", "text": part} for part in (text[: len(text) // 2], text[len(text) // 2 :])]
    body = completion_of(exchange)
    body["choices"][0]["message"]["content"] = parts
    return Reply((http(encode(body)),), whole=True)


def _error_object(_exchange: Exchange, _fault: Fault) -> Reply:
    return Reply((http(error_body("Internal server error", "server_error", None)),))


def _invalid_utf8(exchange: Exchange, _fault: Fault) -> Reply:
    return Reply((http(_plain_body(exchange).replace(b'"content":"', b'"content":"\xff\xfe', 1)),))


def _huge_body(exchange: Exchange, _fault: Fault) -> Reply:
    body = _plain_body(exchange)
    return Reply((http(b"", length=HUGE + len(body)), *[_MEGABYTE] * (HUGE >> 20), body))


def _gzip_bomb(exchange: Exchange, _fault: Fault) -> Reply:
    space, tail = _packed_space()
    tail = tail.copy()
    body = space + tail.compress(_plain_body(exchange)) + tail.flush()
    return Reply((http(body, headers="Content-Encoding: gzip\r\n"),))


@cache
def _packed_space() -> "tuple[bytes, zlib._Compress]":
    """The long beginning of every bomb, packed once, and the packer to go on with (a copy of it)."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(packer.compress(_MEGABYTE) for _ in range(HUGE >> 20)), packer


def _broken_sse(exchange: Exchange, _fault: Fault) -> Reply:
    sent = events(exchange)
    middle = len(sent) // 2
    return Reply(stream([*sent[:middle], sent[middle][: len(sent[middle]) // 2]]))


def _sse_without_done(exchange: Exchange, _fault: Fault) -> Reply:
    return Reply(stream(events(exchange)), whole=True)


def _sse_keep_alive(exchange: Exchange, fault: Fault) -> Reply:
    """Comments and blank lines before every event, which come slowly; lines end as on some other system."""
    sent = [event.replace(b"\n", b"\r\n") for event in [*events(exchange), b"data: [DONE]\n\n"]]
    head, *chunks = stream([b": keep-alive\n\n\n" + b"event: chunk\nid: 1\n" + event for event in sent])
    pause = _lasting(fault, 1) / len(chunks)
    return Reply((head, *(part for chunk in chunks for part in (pause, chunk))), whole=True)


def _no_usage(exchange: Exchange, _fault: Fault) -> Reply:
    if exchange.request.stream:
        return Reply(stream([*_events_without_usage(exchange), b"data: [DONE]\n\n"]), whole=True)
    return Reply((http(encode(completion_of(exchange) | {"usage": None})),), whole=True)


def _sse_reset_at_end(exchange: Exchange, _fault: Fault) -> Reply:
    """The finish reason has come; the usage and ``[DONE]`` have not."""
    return Reply((*stream(_events_without_usage(exchange))[:-1], 0.02), whole=True, end="reset")


def _sse_error_at_end(exchange: Exchange, _fault: Fault) -> Reply:
    """The whole answer has come; then its provider says that the credit is spent."""
    error = b'event: error\ndata: {"error": {"message": "no credit left", "code": 402}}\n\n'
    return Reply(stream([*_events_without_usage(exchange), error]), whole=True)


def _events_without_usage(exchange: Exchange) -> list[bytes]:
    return [event for event in events(exchange) if b'"choices":[]' not in event]


def _duplicate_id(exchange: Exchange, _fault: Fault) -> Reply:
    return whole_reply(replace(exchange, digest="the-same-for-all"))


def _length(exchange: Exchange, _fault: Fault) -> Reply:
    answer = exchange.answer
    return _answering(exchange, replace(answer, content=answer.content[: len(answer.content) // 2]), "length")


def _content_filter(exchange: Exchange, _fault: Fault) -> Reply:
    return _answering(exchange, replace(exchange.answer, content="", reasoning=None), "content_filter")


def _stuck(exchange: Exchange, _fault: Fault) -> Reply:
    """A model that repeats one character until its tokens are used up, in its text and in its thinking."""
    answer = exchange.answer
    thinking = None if answer.reasoning is None else answer.reasoning + STUCK
    return whole_reply(replace(exchange, answer=replace(answer, content=STUCK + answer.content, reasoning=thinking)))


def _broken_off(exchange: Exchange, _fault: Fault) -> Reply:
    """DeepSeek's word for an answer that it could not finish."""
    answer = exchange.answer
    half = replace(answer, content=answer.content[: len(answer.content) // 2])
    return replace(_answering(exchange, half, "insufficient_system_resource"), whole=False)


def _answering(exchange: Exchange, answer: Answer, finish_reason: str) -> Reply:
    return whole_reply(replace(exchange, answer=replace(answer, finish_reason=finish_reason)))


def _redirect(_exchange: Exchange, fault: Fault) -> Reply:
    return Reply((http(b"", status=307, headers=f"Location: {fault.location}\r\n"),))


_SPOILERS: dict[Kind, Callable[[Exchange, Fault], Reply]] = {
    "502": _bad_gateway,
    "429_words": _refused_in_words,
    "403_moderation": _moderated,
    "latin1_error": _latin1_error,
    "deep_nesting": _deep_nesting,
    "broken_off": _broken_off,
    "empty_length": _empty_length,
    "sse_reset_at_end": _sse_reset_at_end,
    "sse_error_at_end": _sse_error_at_end,
    "reset_before_headers": _reset_before_headers,
    "reset_in_body": _reset_in_body,
    "hang_before_headers": _hang_before_headers,
    "hang_in_body": _hang_in_body,
    "slow_drip": _slow_drip,
    "wrong_length": _wrong_length,
    "truncated_json": _truncated_json,
    "no_choices": _no_choices,
    "null_content": _null_content,
    "parts_content": _parts_content,
    "empty_content": _empty_content,
    "error_object": _error_object,
    "invalid_utf8": _invalid_utf8,
    "gzip_bomb": _gzip_bomb,
    "huge_body": _huge_body,
    "broken_sse": _broken_sse,
    "sse_without_done": _sse_without_done,
    "sse_keep_alive": _sse_keep_alive,
    "duplicate_id": _duplicate_id,
    "no_usage": _no_usage,
    "length": _length,
    "stuck": _stuck,
    "content_filter": _content_filter,
    "redirect": _redirect,
}
