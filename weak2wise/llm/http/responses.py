"""Parses the bytes of a reply: a completion, or the error that says why there is none.

Only what is used is decoded, so a reply takes little more memory than its bytes, whatever it holds.

An answer with a finish reason is whole even if it is empty: a model can use up its token limit for hidden thinking, and
that is billed. The method decides what to do with it. A reply that ended because the provider failed is not an answer.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct, structs

from weak2wise.errors import Kind
from weak2wise.llm.errors import Transient
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.message import THINKING_FIELDS, Message, content_in, thinking_in
from weak2wise.llm.http.odd_json import decode, says_something, string_in, whole_characters
from weak2wise.llm.http.reported_usage import usage_in
from weak2wise.llm.model import Completion, Usage
from weak2wise.llm.thinking import split_thinking, without_tags, without_thinking

BOM = b"\xef\xbb\xbf"

_SYNONYMS: dict[str, tuple[str, ...]] = {
    # The numbers are those of Google's enumeration, which some gateways pass on.
    "stop": ("eos", "eos_token", "end_turn", "stop_sequence", "completed", "1"),
    "length": ("max_tokens", "max_output_tokens", "max_length", "model_length", "model_context_window_exceeded", "2"),
    "content_filter": (
        *("content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii"),
        *("sensitive", "refusal", "guardrail_intervened", "3", "4"),
    ),
}
_STANDARD_REASON = {other: word for word, others in _SYNONYMS.items() for other in others}
"""The standard finish reason for each provider's synonym. Others are kept as they are: few of them mean a failure."""
_BROKEN_OFF = {"error", "abort", "aborted", "cancelled", "insufficient_system_resource", "model_error", "network_error"}


class _Choice(Struct):
    """One answer and why it ended; OpenRouter sets ``error`` if it broke off, Moonshot reports ``usage`` here."""

    message: Message | None = None
    finish_reason: Raw = Raw()
    error: Raw = Raw()
    usage: Raw = Raw()


class _First(Struct, array_like=True):
    """The first of a list of choices. The others, which nobody asked for, are skipped."""

    choice: _Choice | None = None


class _Reply(Struct):
    choices: _First | None = None
    usage: Raw = Raw()
    x_groq: Raw = Raw()
    service_tier: Raw = Raw()
    error: Raw = Raw()
    base_resp: Raw = Raw()
    """MiniMax reports errors here."""
    code: Raw = Raw()
    message: Raw = Raw()


_REPLY = msgspec.json.Decoder(_Reply)


def parse_reply(body: bytes, name: str) -> Completion:
    """Read the body of a 200.

    Raises:
        Transient: it is not a whole answer.
        Rejected, RateLimited, Unusable: it holds an error in spite of the 200.
    """
    reply = decode(_REPLY, body.removeprefix(BOM), name)
    choice = reply.choices.choice if reply.choices else None
    usage = usage_in(reply.usage, choice.usage if choice else Raw(), reply.x_groq)
    if choice is None or choice.message is None:
        if any(map(says_something, (reply.error, reply.base_resp, reply.code, reply.message))):
            error = error_for(None, body, name)
            error.usage = error.usage or usage
            raise error
        raise _no_answer("malformed", f"{name}: the answer has no choices", name, usage)
    message = choice.message
    text, inline = content_in(message.content, name)
    thoughts = [thinking_in(raw, name) for field in THINKING_FIELDS if (raw := getattr(message, field))]
    reason = broken_off(choice.error) or reason_in(choice.finish_reason, name)
    return completion_of(text, (*thoughts, inline), reason, with_tier(usage, reply.service_tier, name), name)


def with_tier(usage: Usage | None, tier: Raw, name: str) -> Usage | None:
    """The usage with the lane that a provider says has served the call."""
    said = string_in(tier, name)
    return structs.replace(usage or Usage(), tier=said[:100]) if said else usage


def broken_off(error: Raw) -> str | None:
    """The finish reason of a choice with an error."""
    return f"error: {bytes(error)[:1000].decode(errors='replace')}" if says_something(error) else None


def reason_in(raw: Raw, name: str) -> str | None:
    """A finish reason as its provider gives it; ``None`` if it gives none."""
    said = string_in(raw, name)
    if said is None:
        said = bytes(raw).decode(errors="replace") if says_something(raw) else ""
    return said.strip()[:100] or None


def completion_of(text: str, thoughts: Sequence[str], reason: str | None, usage: Usage | None, name: str) -> Completion:
    """An answer as it arrived.

    Args:
        text: the content.
        thoughts: the thinking in each of the places where a provider may give it; the first that is not blank counts.
        reason: why it ended, in the provider's words.
        usage: as reported.
        name: the endpoint's.

    Raises:
        Transient: it broke off, or it is empty and has no finish reason.
    """
    ended = reason.casefold() if reason else None
    ended = _STANDARD_REASON.get(ended, ended) if ended else None
    reasoning: str | None = next((thought for thought in thoughts if thought and not thought.isspace()), None)
    if ended and (ended in _BROKEN_OFF or ended.startswith("error: ")):
        error = _no_answer("truncated", f"{name}: the answer broke off ({reason})", name, usage)
        error.characters = len(text) + len(reasoning or "")
        raise error
    text = whole_characters(text)
    if reasoning is None:
        reasoning, text = split_thinking(text)
    else:
        reasoning, text = without_tags(whole_characters(reasoning)), without_thinking(text)
    completion = Completion(text=text, reasoning=reasoning, finish_reason=ended, usage=usage or Usage())
    if ended is None and completion.says_nothing:
        raise _no_answer("empty", f"{name}: an empty answer, without a finish reason", name, usage)
    return completion


def _no_answer(kind: Kind, message: str, name: str, usage: Usage | None) -> Transient:
    error = Transient(kind, message, endpoint=name)
    error.usage = usage
    return error
