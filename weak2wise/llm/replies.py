"""What the bytes of a reply mean: a completion, or the one error type that says who deals with it."""

import re
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.llm.errors import ModelError, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.model import Completion, Usage
from weak2wise.llm.thinking import split_thinking


class Said(Struct):
    """What a message or a piece of one says, wherever its provider puts it."""

    content: str | list[Any] | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class Choice(Struct):
    """One answer and why it ended."""

    message: Said | None = None
    finish_reason: str | None = None


class _Cached(Struct):
    cached_tokens: int | None = None


class UsageReport(Struct):
    """Tokens as providers report them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for it


class _Reply(Struct):
    choices: list[Choice] | None = None
    usage: UsageReport | None = None
    error: Any = None


_REPLY = msgspec.json.Decoder(_Reply)


def parse_reply(body: bytes, name: str) -> Completion:
    """Read the body of a 200.

    Raises:
        Transient: it is no whole answer.
        Rejected, RateLimited, Unusable: it holds an error after all, or content the provider withheld.
    """
    try:
        reply = _REPLY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Transient(
            "malformed", f"{name}: the answer is not the JSON it should be: {error}", endpoint=name
        ) from None
    if not reply.choices or reply.choices[0].message is None:
        if reply.error:
            raise error_for(status_in(reply.error), body, name)
        raise Transient("malformed", f"{name}: the answer has no choices", endpoint=name)
    return completion_in(reply.choices[0], reply.usage, name)


def completion_in(choice: Choice, usage: UsageReport | None, name: str) -> Completion:
    """The answer in a choice that has a message.

    Raises:
        Transient: it says nothing.
        Rejected: the provider withheld it.
    """
    assert choice.message is not None
    text = text_in(choice.message.content)
    reasoning = choice.message.reasoning_content or choice.message.reasoning
    if not isinstance(reasoning, str):
        reasoning, text = split_thinking(text)
    if not text.strip() and not (reasoning or "").strip():
        error: ModelError
        if choice.finish_reason == "content_filter":
            withheld = f"{name}: the provider's content filter withheld the answer"
            error = Rejected("content_filter", withheld, endpoint=name)
        else:
            empty = f"{name}: an empty answer (finish_reason {choice.finish_reason})"
            error = Transient("empty", empty, endpoint=name)
        error.usage = _usage(usage)
        raise error
    return Completion(text=text, reasoning=reasoning, finish_reason=choice.finish_reason, usage=_usage(usage))


def text_in(content: str | list[Any] | None) -> str:
    """The text of a message's content, which some providers give in parts."""
    if isinstance(content, list):  # a list of parts; only the text ones say something
        return "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    return content or ""


def _usage(usage: UsageReport | None) -> Usage:
    if usage is None:
        return Usage()
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens if details else None) or usage.prompt_cache_hit_tokens
    return Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached or 0)


_OVERFLOW = re.compile(
    r"context_length_exceeded|context length|context window|prompt is too long|too many tokens", re.IGNORECASE
)
_NO_MODEL = re.compile(r"model_not_found|model not (found|exist)|unknown model|does not exist", re.IGNORECASE)
_NO_CREDIT = re.compile(r"insufficient_quota|insufficient balance|exceeded your current quota|billing", re.IGNORECASE)
_FILTERED = re.compile(r"content_filter|content policy|data_inspection_failed|content management policy", re.IGNORECASE)


def error_for(  # noqa: PLR0911 - a table, one line a kind
    status: int, body: bytes, name: str, retry_after: float | None = None, location: str | None = None
) -> ModelError | Unusable:
    """The error that an HTTP status and its body stand for. Returned, so that the caller raises it."""
    said = _said(body)
    message = f"{name}: HTTP {status}: {said}" if said else f"{name}: HTTP {status}"
    if 300 <= status < 400:
        return Unusable(
            f"{message}; it redirects to {location}", hint=f"Set model_endpoints.{name}.base_url to where it leads."
        )
    if status == 402 or (status == 429 and _NO_CREDIT.search(said)):
        return Unusable(message, hint="Add credit with the provider, then start again.")
    if status in {401, 403}:
        return Unusable(message, hint=f"Check the key that model_endpoints.{name}.api_key_env names, then start again.")
    if status == 404 or (status == 400 and _NO_MODEL.search(said)):
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


def _said(body: bytes) -> str:
    """The provider's own words about an error, on one line and short."""
    text = body[:20_000].decode("utf-8", errors="replace")
    try:
        error = msgspec.json.decode(body).get("error")
        text = (
            f"{error.get('message')} ({error.get('code') or error.get('type')})"
            if isinstance(error, dict)
            else str(error)
        )
    except (msgspec.DecodeError, AttributeError):
        text = re.sub(r"<[^>]*>", " ", text)  # a proxy's HTML page
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def status_in(error: Any) -> int:
    """The status that a 200's error object claims; a server fault where it claims none."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500
