"""The answer and the thinking of a message, in any provider's fields: a string, or a list of parts.

A part is text or thinking; other kinds (images, encrypted thinking) are not used.
"""

import msgspec
from msgspec import Raw, Struct

from weak2wise.llm.errors import Transient
from weak2wise.llm.http.odd_json import decode, string_in

_MOST_BYTES = 8 << 20
"""Of a list of parts. Each part is an object; an answer of a million tokens is smaller."""
THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
"""In order: providers that fill several of them repeat the same."""


class Message(Struct):
    """A message, or a piece of one, before its fields are decoded."""

    content: Raw = Raw()
    reasoning_content: Raw = Raw()
    reasoning: Raw = Raw()
    thinking: Raw = Raw()
    reasoning_details: Raw = Raw()
    thinking_blocks: Raw = Raw()


class _Part(Struct):
    type: Raw = Raw()
    text: Raw = Raw()
    thinking: Raw = Raw()
    summary: Raw = Raw()
    reasoning: Raw = Raw()
    content: Raw = Raw()


_PARTS = msgspec.json.Decoder(list[_Part | str | None])


def content_in(raw: Raw, name: str) -> tuple[str, str]:
    """The text and the thinking in a message's content. Raises ``Transient``."""
    said = string_in(raw, name)
    if said is not None:
        return said, ""
    text, thinking = [], []
    for part in _parts_in(raw, name):
        kind = string_in(part.type, name) or ""
        if part.thinking or "thinking" in kind or "reasoning" in kind:
            thinking.append(_words_in(part, name))
        elif part.text:
            text.append(string_in(part.text, name) or "")
    return "".join(text), "".join(thinking)


def thinking_in(raw: Raw, name: str) -> str:
    """The thinking in a field that holds nothing else, as a string or a list of parts. Raises ``Transient``."""
    said = string_in(raw, name)
    if said is not None:
        return said
    return "".join(_words_in(part, name) for part in _parts_in(raw, name))


def _words_in(part: _Part, name: str) -> str:
    for raw in (part.thinking, part.text, part.summary, part.reasoning, part.content):
        if raw and (said := thinking_in(raw, name)):
            return said
    return ""


def _parts_in(raw: Raw, name: str) -> list[_Part]:
    data = bytes(raw)
    if not data.startswith(b"["):
        return []
    if len(data) > _MOST_BYTES:
        raise Transient("oversized", f"{name}: an answer in more than {_MOST_BYTES >> 20} MiB of parts", endpoint=name)
    return [part for part in decode(_PARTS, data, name) if isinstance(part, _Part)]
