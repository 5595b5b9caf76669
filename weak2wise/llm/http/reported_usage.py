"""The tokens that a provider reports, wherever it does and whatever it calls them.

What was charged counts. Some providers count thinking only in ``total_tokens`` or ``reasoning_tokens`` (xAI, Gemini),
some report usage inside a choice (Moonshot) or under ``x_groq``, and some in an error.
"""

import math
from typing import Any

import msgspec
from msgspec import Raw

from weak2wise.llm.http.odd_json import UNREADABLE
from weak2wise.llm.model import Usage

_MOST_TOKENS = 1e12
"""A larger token count is ignored."""
_LARGEST = 1 << 16
"""Bytes. Larger reports are ignored."""
_ANY = msgspec.json.Decoder()


def usage_in(*pieces: Raw) -> Usage | None:
    """The usage in the first of these pieces of JSON that holds any, itself or as its ``usage``."""
    for piece in pieces:
        if piece and len(piece) <= _LARGEST:
            try:
                reported = _ANY.decode(piece)
            except UNREADABLE:
                continue
            if usage := usage_of(reported):
                return usage
    return None


def usage_of(reported: Any) -> Usage | None:
    """Tokens as reported, or as reported in its ``usage``; ``None`` if there are none."""
    if not isinstance(reported, dict):
        return None
    inner = reported.get("usage")
    return (_counted(inner) if isinstance(inner, dict) else None) or _counted(reported)


def _counted(reported: dict[str, Any]) -> Usage | None:
    prompt = _count(reported.get("prompt_tokens"))
    completion = _count(reported.get("completion_tokens"))
    details = reported.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    cached = cached or _count(reported.get("prompt_cache_hit_tokens")) or _count(reported.get("cached_tokens"))
    if "input_tokens" in reported:
        prompt = prompt or _count(reported["input_tokens"])
        details = reported.get("input_tokens_details")
        cached = cached or (_count(details.get("cached_tokens")) if isinstance(details, dict) else 0)
        if read := _count(reported.get("cache_read_input_tokens")):  # Anthropic counts them beside its input_tokens
            cached, prompt = read, prompt + read
        prompt += _count(reported.get("cache_creation_input_tokens"))
    completion = completion or _count(reported.get("output_tokens"))
    thinking = _thinking(reported)
    if thinking > completion:  # so it cannot be a part of them
        completion += thinking
    completion = max(completion, _count(reported.get("total_tokens")) - prompt)
    return Usage(prompt, completion, min(cached, prompt)) if prompt or completion else None


def _thinking(reported: dict[str, Any]) -> int:
    for key in ("completion_tokens_details", "output_tokens_details"):
        details = reported.get(key)
        if isinstance(details, dict) and (count := _count(details.get("reasoning_tokens"))):
            return count
    return _count(reported.get("reasoning_tokens"))


def _count(reported: Any) -> int:
    if type(reported) is int and 0 <= reported <= _MOST_TOKENS:  # nearly always
        return reported
    if reported is None:
        return 0
    try:
        number = float(reported)
    except (TypeError, ValueError, OverflowError):
        return 0
    return math.ceil(number) if 0 <= number <= _MOST_TOKENS else 0
