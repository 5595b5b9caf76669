"""A reply as the bytes that go over the wire. Pure: nothing here sends anything.

A reply is a sequence of byte strings and pauses, and how the connection ends. Every fault is such a sequence too
(``tests.loopback.spoil``), so the server has a single way to send, and no library stands in the way of breaking HTTP.
"""

from http import HTTPStatus
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tests.loopback.answers import Answer, Request

_JSON = "application/json"
_SSE = "text/event-stream"
encode = msgspec.json.Encoder().encode


class Reply(Struct, frozen=True):
    """Bytes to send and pauses (seconds) between them, then ``end`` of the connection: kept, closed, or reset (RST).

    ``whole`` tells that the client gets the full answer, so asking again would be paying twice.
    """

    parts: tuple[bytes | float, ...]
    whole: bool = False
    end: Literal["keep", "close", "reset"] = "keep"


class Exchange(Struct, frozen=True):
    """What a reply is made from; ``digest`` is the request body's, ``headers`` are added, each ended by CR LF."""

    request: Request
    digest: str
    answer: Answer
    headers: str = ""


def whole_reply(exchange: Exchange) -> Reply:
    """The plain answer, as JSON or as the stream that was asked for."""
    if exchange.request.stream:
        return Reply(stream([*events(exchange), b"data: [DONE]\n\n"], exchange.headers), whole=True)
    return Reply((http(encode(completion_of(exchange)), headers=exchange.headers),), whole=True)


def error(status: int, message: str, *, type_: str, code: str | None = None, headers: str = "") -> Reply:
    """An error in OpenAI's shape."""
    return Reply((http(error_body(message, type_, code), status=status, headers=headers),))


def json_reply(value: Any) -> Reply:
    """Any value as JSON."""
    return Reply((http(encode(value)),), whole=True)


def error_body(message: str, type_: str, code: str | None) -> bytes:
    """The body of an error in OpenAI's shape."""
    return encode({"error": {"message": message, "type": type_, "param": None, "code": code}})


def http(body: bytes, *, status: int = 200, type_: str = _JSON, headers: str = "", length: int | None = None) -> bytes:
    """A response with a body; ``length`` overrides the truth."""
    length = len(body) if length is None else length
    reason = "OK" if status == 200 else HTTPStatus(status).phrase
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {type_}\r\nContent-Length: {length}\r\n{headers}\r\n"
    return head.encode() + body


def completion_of(exchange: Exchange) -> dict[str, Any]:
    """The body of a plain answer, before it is encoded."""
    answer = exchange.answer
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.reasoning is not None:
        message[answer.reasoning_key] = answer.reasoning
    return {
        "id": f"chatcmpl-{exchange.digest}",
        "object": "chat.completion",
        "created": 0,
        "model": exchange.request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
        "usage": _usage(answer),
    }


def _usage(answer: Answer) -> dict[str, int]:
    prompt, completion = answer.prompt_tokens, answer.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def events(exchange: Exchange) -> list[bytes]:
    """The answer as server-sent events, without the closing ``[DONE]``."""
    answer, options = exchange.answer, exchange.request.stream_options
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{answer.reasoning_key: piece} for piece in _pieces(answer.reasoning or "")]
    deltas += [{"content": piece} for piece in _pieces(answer.content)]
    choices: list[list[Any]] = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}])
    head = {
        "id": f"chatcmpl-{exchange.digest}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": exchange.request.model,
    }
    chunks: list[dict[str, Any]] = [head | {"choices": choice} for choice in choices]
    if options is not None and options.include_usage:
        chunks.append(head | {"choices": [], "usage": _usage(answer)})
    return [b"data: " + encode(chunk) + b"\n\n" for chunk in chunks]


def _pieces(text: str, size: int = 200) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def stream(events: list[bytes], headers: str = "") -> tuple[bytes, ...]:
    """A chunked response of server-sent events."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {_SSE}\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    return (head, *(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n")
