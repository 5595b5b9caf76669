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
    counts = {key: _count(value) for key, value in reported.items() if not isinstance(value, dict)}
    count = counts.get
    prompt, completion = count("prompt_tokens", 0), count("completion_tokens", 0)
    cached = _detail(reported, "prompt_tokens_details", "cached_tokens")
    cached = cached or count("prompt_cache_hit_tokens", 0) or count("cached_tokens", 0)
    if "input_tokens" in counts:
        prompt = prompt or counts["input_tokens"]
        cached = cached or _detail(reported, "input_tokens_details", "cached_tokens")
        if read := count("cache_read_input_tokens", 0):  # Anthropic counts them beside its input_tokens
            cached, prompt = read, prompt + read
        prompt += count("cache_creation_input_tokens", 0)
    completion = completion or count("output_tokens", 0)
    thinking = (
        _detail(reported, "completion_tokens_details", "reasoning_tokens")
        or _detail(reported, "output_tokens_details", "reasoning_tokens")
        or count("reasoning_tokens", 0)
    )
    if thinking > completion:  # so it cannot be a part of them
        completion += thinking
    completion = max(completion, count("total_tokens", 0) - prompt)
    return Usage(prompt, completion, min(cached, prompt)) if prompt or completion else None


def _detail(reported: dict[str, Any], details: str, key: str) -> int:
    inner = reported.get(details)
    return _count(inner.get(key)) if isinstance(inner, dict) else 0


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
