"""The lines of a batch: those of an input file, checked, and what comes back for each."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tests.loopback.answers import Answer, Request, role_of
from tests.loopback.replies import Exchange, completion_of, encode, error_body

URL = "/v1/chat/completions"
NO_CREDIT = "Your credit balance is too low to access the API. Please go to Plans & Billing to add credits."
_REFUSALS: dict[str, tuple[int, str, str | None, str]] = {
    "400": (400, "invalid_request_error", None, "Invalid value for 'temperature'."),
    "429": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "500": (500, "server_error", None, "The server had an error while processing your request."),
    "no_credit": (400, "invalid_request_error", None, NO_CREDIT),
}
_BODY = msgspec.json.Decoder(Request)


class _Written(Struct, frozen=True):
    """An input line as a client writes it."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


_WRITTEN = msgspec.json.Decoder(_Written)


class Line(Struct, frozen=True):
    """One request of a batch; ``digest`` is of the body, as for a request that is sent by itself."""

    custom_id: str
    request: Request
    digest: str
    text: bytes


class Problem(Struct, frozen=True):
    """Why a whole file is refused; ``line`` is counted from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Result(Struct, frozen=True):
    """What becomes of a line: lines of the output and the error file, and the answer if it is charged."""

    output: tuple[bytes, ...] = ()
    errors: tuple[bytes, ...] = ()
    charged: Answer | None = None


def read_lines(content: bytes, *, most: int) -> tuple[list[Line], list[Problem]]:
    """The lines of an input file, and everything that a provider refuses it for."""
    lines: list[Line] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for number, text in enumerate(content.splitlines(), 1):
        if not text.strip():
            continue
        try:
            written = _WRITTEN.decode(text)
            request = _BODY.decode(written.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            problems.append(Problem("invalid_json_line", f"This line is not parseable: {error}", number))
            continue
        if why := _refused(written, request, seen, lines):
            problems.append(Problem(*why, line=number))
        seen.add(written.custom_id)
        digest = blake2b(written.body, digest_size=12).hexdigest()
        lines.append(Line(written.custom_id, request, digest, text))
    if not lines and not problems:
        problems.append(Problem("empty_file", "The input file has no lines."))
    if len(lines) > most:
        problems.append(Problem("too_many_tasks", f"The input file has more than {most} lines."))
    return lines, problems


def _refused(written: _Written, request: Request, seen: set[str], lines: list[Line]) -> tuple[str, str] | None:
    first = lines[0].request.model if lines else request.model
    rules = (
        (written.custom_id in seen, "duplicate_custom_id", f"The custom_id {written.custom_id!r} is used twice."),
        (not 0 < len(written.custom_id) <= 64, "invalid_custom_id", "A custom_id has 1 to 64 characters."),
        (written.method != "POST", "invalid_method", f"The method {written.method!r} is not supported."),
        (written.url != URL, "invalid_url", f"The URL {written.url!r} does not match the batch's endpoint."),
        (request.stream, "invalid_request", "Streaming is not supported in batches."),
        (request.model != first, "mismatched_model", "All lines of a batch must be for one model."),
    )
    return next(((code, message) for broken, code, message in rules if broken), None)


def result_of(line: Line, fault: str | None, answer: Callable[[Request], Answer]) -> Result:
    """What comes back for a line that the batch got to."""
    if role_of(line.request.model) is None:
        missing = f"The model '{line.request.model}' does not exist."
        body = error_body(missing, "invalid_request_error", "model_not_found")
        return Result(errors=(_line(line, _response(line, 404, body)),))
    if fault in _UNANSWERED:
        return _UNANSWERED[fault](line)
    said = answer(line.request)
    whole = _line(line, _response(line, 200, encode(completion_of(Exchange(line.request, line.digest, said)))))
    other = encode(line.custom_id[:-1] + "~")
    output: dict[str | None, tuple[bytes, ...]] = {
        "doubled": (whole, whole),
        "garbled": (whole[: len(whole) // 2] + b"\n",),
        "stranger": (whole, whole.replace(encode(line.custom_id), other, 1)),
    }
    return Result(
        output=output.get(fault, (whole,)),
        errors=(_failed(line, "500"),) if fault == "in_both" else (),
        charged=None if fault == "garbled" else said,
    )


def unanswered(line: Line, code: str, message: str) -> bytes:
    """The line of an error file for a request that was not carried out."""
    return _line(line, None, {"code": code, "message": message})


def left_over(line: Line, ended: Literal["expired", "cancelled"]) -> bytes:
    """The line of an error file for a request that the batch did not get to."""
    if ended == "expired":
        return unanswered(
            line, "batch_expired", "This request could not be executed before the completion window expired."
        )
    return unanswered(line, "batch_cancelled", "This request was not executed because the batch was cancelled.")


def _failed(line: Line, kind: str) -> bytes:
    status, type_, code, message = _REFUSALS[kind]
    return _line(line, _response(line, status, error_body(message, type_, code)))


def _response(line: Line, status: int, body: bytes) -> dict[str, Any]:
    return {"status_code": status, "request_id": f"req_{line.digest}", "body": msgspec.Raw(body)}


def _line(line: Line, response: dict[str, Any] | None, error: dict[str, str] | None = None) -> bytes:
    return (
        encode({"id": f"batch_req_{line.digest}", "custom_id": line.custom_id, "response": response, "error": error})
        + b"\n"
    )


def _only_failed(kind: str) -> Callable[[Line], Result]:
    return lambda line: Result(errors=(_failed(line, kind),))


_UNANSWERED: dict[str | None, Callable[[Line], Result]] = {
    "lost": lambda _: Result(),
    "status_0": lambda line: Result(output=(_line(line, {"status_code": 0, "request_id": "", "body": ""}),)),
    "no_response": lambda line: Result(errors=(unanswered(line, "server_error", "Not processed."),)),
    "500_in_output": lambda line: Result(output=(_failed(line, "500"),)),
    **{kind: _only_failed(kind) for kind in _REFUSALS},
}
"""The faults that leave a line without an answer, and uncharged."""
