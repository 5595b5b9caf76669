"""Parses the bytes of a reply: a completion, or the error that says why there is none.

An answer with a finish reason is whole even if it is empty: a model can use up its token limit for hidden thinking, and
that is billed. The method decides what to do with it. A reply that ended because the provider failed is not an answer.
"""

import math
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from weak2wise.errors import Kind
from weak2wise.llm.errors import Transient
from weak2wise.llm.http.error_mapping import UNREADABLE, error_for
from weak2wise.llm.model import Completion, Usage
from weak2wise.llm.thinking import split_thinking

BOM = b"\xef\xbb\xbf"
_MOST_TOKENS = 1e12
"""A larger token count is ignored."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "stop": ("eos", "eos_token", "end_turn", "stop_sequence", "completed"),
    "length": ("max_tokens", "max_output_tokens", "max_length", "model_length", "model_context_window_exceeded"),
    "content_filter": (
        *("content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii"),
        *("sensitive", "refusal", "guardrail_intervened"),
    ),
}
_STANDARD_REASON = {other: word for word, others in _SYNONYMS.items() for other in others}
"""The standard finish reason for each provider's synonym. Others are kept as they are: few of them mean a failure."""
_BROKEN_OFF = {"error", "abort", "aborted", "cancelled", "insufficient_system_resource", "model_error", "network_error"}


class ReplyText(Struct):
    """The text and thinking of a message, or of a piece of one, in any provider's fields."""

    content: str | list[Any] | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class Choice(Struct):
    """One answer and why it ended; OpenRouter sets ``error`` if it broke off."""

    message: ReplyText | None = None
    finish_reason: str | None = None
    error: Any = None


class _Reply(Struct):
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None


_REPLY = msgspec.json.Decoder(_Reply)
_T = TypeVar("_T")


def parse_reply(body: bytes, name: str) -> Completion:
    """Read the body of a 200.

    Raises:
        Transient: it is not a whole answer.
        Rejected, RateLimited, Unusable: it holds an error in spite of the 200.
    """
    reply = decode(_REPLY, body.removeprefix(BOM), name)
    usage = usage_in(reply.usage)
    if not reply.choices or reply.choices[0].message is None:
        if reply.error:
            raise error_for(None, body, name)
        raise _no_answer("malformed", f"{name}: the answer has no choices", name, usage)
    return completion_in(reply.choices[0], usage, name)


def decode(decoder: "msgspec.json.Decoder[_T]", data: bytes, name: str) -> _T:
    """Decode a part of an answer. Raises ``Transient``."""
    try:
        return decoder.decode(data)
    except UNREADABLE as error:
        message = f"{name}: the answer is not valid JSON of the expected shape: {error}"
        raise Transient("malformed", message, endpoint=name) from None


def completion_in(choice: Choice, usage: Usage | None, name: str) -> Completion:
    """The answer in a choice that has a message.

    Raises:
        Transient: it broke off, or it is empty and has no finish reason.
    """
    assert choice.message is not None
    ended = choice.finish_reason.strip().casefold() if choice.finish_reason else None
    ended = _STANDARD_REASON.get(ended, ended) if ended else None
    text = text_in(choice.message.content)
    reasoning = choice.message.reasoning_content or choice.message.reasoning
    if choice.error or ended in _BROKEN_OFF:
        error = _no_answer("truncated", f"{name}: the answer broke off ({choice.error or ended})", name, usage)
        error.characters = len(text) + len(reasoning if isinstance(reasoning, str) else "")
        raise error
    if not isinstance(reasoning, str):
        reasoning, text = split_thinking(text)
    completion = Completion(text=text, reasoning=reasoning, finish_reason=ended, usage=usage or Usage())
    if ended is None and completion.says_nothing:
        raise _no_answer("empty", f"{name}: an empty answer, without a finish reason", name, usage)
    return completion


def _no_answer(kind: Kind, message: str, name: str, usage: Usage | None) -> Transient:
    error = Transient(kind, message, endpoint=name)
    error.usage = usage
    return error


def text_in(content: str | list[Any] | None) -> str:
    """The text of a message's content, which some providers split into parts."""
    if isinstance(content, list):  # a list of parts; only text parts count
        return "".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    return content or ""


def usage_in(reported: Any) -> Usage | None:
    """Tokens as a provider reports them, in any kind of number; ``None`` if it reports none."""
    if not isinstance(reported, dict):
        return None
    details = reported.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    cached = cached or _count(reported.get("prompt_cache_hit_tokens"))  # DeepSeek's name for it
    prompt, completion = _count(reported.get("prompt_tokens")), _count(reported.get("completion_tokens"))
    return Usage(prompt, completion, min(cached, prompt)) if prompt or completion else None


def _count(reported: Any) -> int:
    if type(reported) is int and 0 <= reported <= _MOST_TOKENS:  # nearly always
        return reported
    try:
        number = float(reported)
    except (TypeError, ValueError, OverflowError):
        return 0
    return math.ceil(number) if 0 <= number <= _MOST_TOKENS else 0
