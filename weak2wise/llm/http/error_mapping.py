"""Maps a provider's error to our error type.

A code or type counts more than the message: messages are written for people, and one about a rate limit may mention
billing. An error stops the run only if it is sure to hit every call; one that may concern a single prompt fails only
that prompt.
"""

import re
from typing import Any

import msgspec

from weak2wise.llm.errors import ModelError, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.http.rate_limit_headers import wait_in

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises: invalid JSON or UTF-8, another shape, a number too large, or nesting too deep."""
_MOST_CHARACTERS = 20_000

_OVERFLOW = re.compile(
    r"context_length_exceeded|context length|context window|prompt is too long|too many tokens", re.IGNORECASE
)
_NO_MODEL = re.compile(
    r"\bmodel:?\s+(\S+\s+)?(is )?(does not exist|not exist|not found)|(unknown|no such) model|is not a valid model",
    re.IGNORECASE,
)
_NO_MODEL_CODES = {"model_not_found", "model_not_exist", "invalid_model", "unknown_model"}
_NO_CREDIT = re.compile(r"insufficient[_ ]balance|exceeded your current quota", re.IGNORECASE)
_NO_CREDIT_CODES = {
    "insufficient_quota",
    "insufficient_balance",
    "billing_hard_limit_reached",
    "billing_not_active",
    "exceeded_current_quota_error",
}
_LIMIT_CODES = {"rate_limit_exceeded", "rate_limit_error", "resource_exhausted"}
_FILTERED = re.compile(
    r"content[_ ](filter|policy|management policy)|data_inspection_failed|moderation"
    r"|\b(input|prompt|content|message|request|text)s?\b[^.]{0,40}\bflagged",
    re.IGNORECASE,
)


def error_for(  # noqa: PLR0911 - a table, one line a kind
    status: int | None, body: bytes, name: str, retry_after: float | None = None, location: str | None = None
) -> ModelError | Unusable:
    """The error for an HTTP status and its body, returned for the caller to raise.

    Without a ``status``, as within a 200, the status in the body counts; 500 if there is none. The message holds the
    provider's whole text: the caller must remove secrets first, then shorten it.
    """
    error, said = _error_and_message(body)
    status = _status_in(error) if status is None else status
    codes = {str(error.get(key)).casefold() for key in ("code", "type", "status")}
    retry_after = wait_in(error, said) if retry_after is None else retry_after
    message = f"{name}: HTTP {status}: {said}" if said else f"{name}: HTTP {status}"
    if 300 <= status < 400:
        return Unusable(
            f"{message}; it redirects to {location}", hint=f"Set model_endpoints.{name}.base_url to that address."
        )
    if status == 402 or (status == 429 and _credit_is_spent(codes, said, retry_after)):
        return Unusable(message, hint="Add credit with the provider, then start again.")
    if status == 403 and (_FILTERED.search(said) or _has_reasons(error)):
        return Rejected("content_filter", message, endpoint=name)
    if status in {401, 403}:
        return Unusable(message, hint=f"Check the key that model_endpoints.{name}.api_key_env names, then start again.")
    if status == 404 or (status == 400 and (codes & _NO_MODEL_CODES or _NO_MODEL.search(said))):
        return Unusable(message, hint=f"Check model_id and base_url of model_endpoints.{name}, then start again.")
    if status == 429:
        return RateLimited(message, endpoint=name, retry_after=retry_after)
    if status in {408, 409, 425} or status >= 500:
        fault = Transient("timeout" if status in {408, 504} else "server_error", message, endpoint=name)
        fault.retry_after = retry_after
        return fault
    if _OVERFLOW.search(said):
        return Rejected("context_overflow", message, endpoint=name)
    if _FILTERED.search(said):
        return Rejected("content_filter", message, endpoint=name)
    return Rejected("bad_request", message, endpoint=name)


def _status_in(error: dict[str, Any]) -> int:
    code = str(error.get("code"))
    return int(code) if re.fullmatch(r"[45]\d\d", code, re.ASCII) else 500


def _credit_is_spent(codes: set[str], said: str, retry_after: float | None) -> bool:
    """Whether a 429 means that no credit is left. The message decides only if nothing points to a temporary limit."""
    if codes & _NO_CREDIT_CODES:
        return True
    return retry_after is None and not codes & _LIMIT_CODES and _NO_CREDIT.search(said) is not None


def _has_reasons(error: dict[str, Any]) -> bool:
    """Whether it names what in the prompt was refused, as OpenRouter's moderation does."""
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("reasons") or metadata.get("flagged_input"))


def _error_and_message(body: bytes) -> tuple[dict[str, Any], str]:
    """A body's error object, empty if it has none, and the provider's message on one line."""
    error: dict[str, Any] = {}
    try:
        found = msgspec.json.decode(body)
        found = found[0] if isinstance(found, list) and found else found  # Gemini wraps its error in a list
        found = found.get("error", found) if isinstance(found, dict) else found
        if isinstance(found, dict):
            error = found
            code = error.get("code") or error.get("type")
            text = str(error.get("message") or error.get("detail") or "") + (f" ({code})" if code else "")
        else:
            text = str(found)
    except UNREADABLE:
        text = body[:_MOST_CHARACTERS].decode("utf-8", errors="replace")
        tags, end, rest = text.rpartition(">")
        text = re.sub(r"<[^>]*>", " ", tags + end) + rest  # a proxy's HTML page; every "<" that is tried has its ">"
    return error, " ".join("".join(c if c.isprintable() else " " for c in text[:_MOST_CHARACTERS]).split())
