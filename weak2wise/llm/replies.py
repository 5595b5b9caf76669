"""What the bytes of a reply mean: a completion, or the one error type that says who deals with it."""

from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.llm.errors import ModelError, Rejected, Transient
from weak2wise.llm.model import Completion, Usage
from weak2wise.llm.refusals import UNREADABLE, error_for
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
    except UNREADABLE as error:
        raise Transient(
            "malformed", f"{name}: the answer is not the JSON it should be: {error}", endpoint=name
        ) from None
    if not reply.choices or reply.choices[0].message is None:
        if reply.error:
            raise error_for(None, body, name)
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
