"""Maps a provider's error to our error type.

An error stops the run only if it is sure to hit every call; one that may concern a single prompt fails only that
prompt.
"""

import re
from typing import Any, NamedTuple

import msgspec

from weak2wise.llm.errors import ModelError, NoCapacity, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.http.credit import (
    AMBIGUOUS_CODE,
    NO_CREDIT_CODES,
    WAIT_CODES,
    codes_of,
    credit_is_spent,
    is_alibaba,
    minimax_error,
)
from weak2wise.llm.http.odd_json import UNREADABLE
from weak2wise.llm.http.rate_limit_headers import wait_in
from weak2wise.llm.http.reported_usage import usage_of
from weak2wise.llm.model import Usage

_MOST_CHARACTERS = 20_000
_LARGEST = 1 << 18
"""Bytes. Of a larger body only the beginning is read, as text."""

_OVERFLOW = re.compile(
    r"context_length_exceeded|context length|context window|prompt is too long|too many tokens", re.IGNORECASE
)
_OVERFLOW_CODES = {"context_length_exceeded", "1261"}
_NO_MODEL = re.compile(
    r"\bmodel:?\s+(\S+\s+)?(is )?(does not exist|not exist|not found)|(unknown|no such) model|is not a valid model",
    re.IGNORECASE,
)
_NO_MODEL_CODES = {"model_not_found", "model_not_exist", "invalid_model", "unknown_model", "1211"}
_BAD_KEY = re.compile(r"API key (not valid|expired|not found)|invalid[_ ]api[_ ]key|api_key_invalid", re.IGNORECASE)
_FILTERED = re.compile(
    r"content[_ ](filter|policy|management policy)|data_inspection_failed|moderation"
    r"|\b(input|prompt|content|message|request|text)s?\b[^.]{0,40}\bflagged",
    re.IGNORECASE,
)
_FILTERED_CODES = {"content_filter", "1301"}
_NO_CAPACITY_CODES = {"resource_unavailable", "capacity_exceeded"}
_OUT_OF_CREDIT = re.compile(r"\bcredits\b|spending limit|overdue|good standing|balance", re.IGNORECASE)

_OURS = ("temperature", "max_tokens", "seed", "top_p", "top_k", "min_p", "repetition_penalty", "stream_options")
"""The parameters that a request has unless ``extra_body`` removes them."""
_OUR_PARAMETER = re.compile(rf"\b({'|'.join(_OURS)})\b")
_UNSUPPORTED_CODES = {"unsupported_parameter", "unsupported_value"}
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|not support\b|unknown (name|parameter|field|argument)|unrecogni[sz]ed|unexpected"
    r"|extra inputs|extra_forbidden|not permitted|not allowed|deprecated|only (the default|1\b)|cannot (both )?be"
    r"|no longer|not accept",
    re.IGNORECASE,
)


class Refusal(NamedTuple):
    """A provider's error, and what is known of the reply that held it."""

    name: str
    status: int
    codes: set[str]
    said: str
    error: dict[str, Any]
    wait: float | None
    location: str | None
    of_alibaba: bool

    @property
    def message(self) -> str:
        """What the user reads."""
        status = f"{self.name}: HTTP {self.status}"
        return f"{status}: {self.said}" if self.said else status


def error_for(
    status: int | None,
    body: bytes,
    name: str,
    retry_after: float | None = None,
    location: str | None = None,
    *,
    host: str = "",
) -> ModelError | Unusable:
    """The error for an HTTP status and its body, returned for the caller to raise.

    Without a ``status``, as within a 200, the status in the body counts; 500 if there is none. The message holds the
    provider's whole text: the caller must remove secrets first, then shorten it.

    Args:
        status: of HTTP.
        body: of the reply, or the part of it that is the error.
        name: the endpoint's.
        retry_after: seconds to wait, from the headers.
        location: where a redirect points.
        host: that sent it.
    """
    found = _decoded(body)
    error, said = _error_in(found), _message_in(found, body)
    codes = codes_of(error)
    status = _status_in(error, codes) if status is None else status
    wait = wait_in(error, said) if retry_after is None else retry_after
    of_alibaba = is_alibaba(host, _object(found))
    refusal = Refusal(name, status, codes, said, error, wait, location, of_alibaba)
    result = (
        _no_credit(refusal)
        or _too_much(refusal)
        or _prompt_refused(refusal)
        or _misconfigured(refusal)
        or _passing(refusal)
        or Rejected("bad_request", _with_advice(refusal), endpoint=name)
    )
    result.usage = _usage_in(found, error)
    return result


def _no_credit(refusal: Refusal) -> Unusable | None:
    status, codes, said = refusal.status, refusal.codes, refusal.said
    if credit_is_spent(status, codes, said, waits=refusal.wait is not None, of_alibaba=refusal.of_alibaba):
        return Unusable(refusal.message, hint="Add credit with the provider, then start again.")
    return None


def _too_much(refusal: Refusal) -> RateLimited | None:
    if refusal.status == 498 or (refusal.status in {429, 503} and refusal.codes & _NO_CAPACITY_CODES):
        return NoCapacity(refusal.message, endpoint=refusal.name, retry_after=refusal.wait)
    if refusal.status in {402, 429} or (refusal.status == 400 and refusal.codes & WAIT_CODES):
        return RateLimited(refusal.message, endpoint=refusal.name, retry_after=refusal.wait)
    return None


def _prompt_refused(refusal: Refusal) -> Rejected | None:
    """Not for a 401 or 404, which concern every prompt whatever they say."""
    status, codes, said = refusal.status, refusal.codes, refusal.said
    if status < 400 or status >= 500 or status in {401, 404, 408}:
        return None
    if codes & _OVERFLOW_CODES or _OVERFLOW.search(said):
        return Rejected("context_overflow", refusal.message, endpoint=refusal.name)
    if codes & _FILTERED_CODES or _FILTERED.search(said) or (status == 403 and _has_reasons(refusal.error)):
        return Rejected("content_filter", refusal.message, endpoint=refusal.name)
    return None


def _misconfigured(refusal: Refusal) -> Unusable | None:
    name, status, codes, said = refusal.name, refusal.status, refusal.codes, refusal.said
    if 300 <= status < 400:
        message = f"{refusal.message}; it redirects to {refusal.location}"
        return Unusable(message, hint=f"Set model_endpoints.{name}.base_url to that address.")
    if status in {403, 412} and _OUT_OF_CREDIT.search(said):
        advice = "Add credit with the provider, or check the key"
    elif status in {401, 403, 412} or (status == 400 and _BAD_KEY.search(said)):
        advice = f"Check the key that model_endpoints.{name}.api_key_env names"
    elif status == 407:
        advice = "Check the user and password in HTTPS_PROXY or HTTP_PROXY"
    elif status == 404 or (status == 400 and (codes & _NO_MODEL_CODES or _NO_MODEL.search(said))):
        advice = f"Check model_id and base_url of model_endpoints.{name}"
    else:
        return None
    return Unusable(refusal.message, hint=f"{advice}, then start again.")


def _passing(refusal: Refusal) -> Transient | None:
    status = refusal.status
    if status not in {408, 409, 425} and status < 500:
        return None
    fault = Transient("timeout" if status in {408, 504} else "server_error", refusal.message, endpoint=refusal.name)
    fault.retry_after = refusal.wait
    return fault


def _with_advice(refusal: Refusal) -> str:
    """The message, with the setting that drops a parameter of ours that the provider does not take."""
    if not (refusal.codes & _UNSUPPORTED_CODES or _UNSUPPORTED.search(refusal.said)):
        return refusal.message
    parameter = refusal.error.get("param")
    if parameter not in _OURS:
        found = _OUR_PARAMETER.search(refusal.said)
        if found is None:
            return refusal.message
        parameter = found[1]
    other = ", max_completion_tokens: 8192" if parameter == "max_tokens" else ""
    setting = f"model_endpoints.{refusal.name}.extra_body: {{{parameter}: null{other}}}"
    status = f"{refusal.name}: HTTP {refusal.status}"
    return f"{status}: it refuses {parameter}; to leave it out, set {setting}: {refusal.said}"


def _status_in(error: dict[str, Any], codes: set[str]) -> int:
    code = str(error.get("code"))
    if re.fullmatch(r"[45]\d\d", code, re.ASCII):
        return int(code)
    return 402 if codes & NO_CREDIT_CODES else 429 if codes & {*WAIT_CODES, AMBIGUOUS_CODE} else 500


def _has_reasons(error: dict[str, Any]) -> bool:
    """Whether it names what in the prompt was refused, as OpenRouter's moderation does."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("reasons") or metadata.get("flagged_input"))


def _usage_in(found: Any, error: dict[str, Any]) -> Usage | None:
    """The usage that an error reports, and that will be charged."""
    whole = _object(found)
    for place in (whole.get("usage"), error.get("usage"), error.get("metadata"), whole.get("x_groq")):
        if usage := usage_of(place):
            return usage
    return None


def _decoded(body: bytes) -> Any:
    """What a body holds, ``None`` if it is not JSON. Gemini wraps its error in a list."""
    try:
        found = msgspec.json.decode(body) if len(body) <= _LARGEST else None
    except UNREADABLE:
        return None
    return found[0] if isinstance(found, list) and found else found


def _object(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _error_in(found: Any) -> dict[str, Any]:
    """The error object, empty if there is none."""
    whole = _object(found)
    groq = _object(whole.get("x_groq")).get("error")
    return _object(minimax_error(whole.get("base_resp")) or whole.get("error") or groq or whole)


def _message_in(found: Any, body: bytes) -> str:
    """The provider's message on one line."""
    if found is None:
        text = body[:_MOST_CHARACTERS].decode("utf-8", errors="replace")
        text = re.sub(r"<[^<>]*>", " ", text)  # a proxy's HTML page
    elif isinstance(found, dict) and not isinstance(found.get("error"), str | list):
        error = _error_in(found)
        code = error.get("code") or error.get("type")
        text = str(error.get("message") or error.get("detail") or "") + (f" ({code})" if code else "")
    else:
        text = str(found["error"] if isinstance(found, dict) else found)
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_MOST_CHARACTERS]).split())
