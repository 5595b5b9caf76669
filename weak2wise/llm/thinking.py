"""Splits a model's inline thinking from the answer after it.

Models mark it in several ways: a pair of tags before the answer, or channels (OpenAI's "harmony" format, whose special
tokens some servers leave out). All of it is linear in the length of the text.
"""

import re

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "<longcat_think>": "</longcat_think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
_OPENS = tuple(_TAGS)
_OPEN_OF = {close: opened for opened, close in _TAGS.items()}

_CLOSE_MARKS = ("</", "[/", "◁/")
"""How closing tags begin."""

_SPACE = re.compile(r"\s*")
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_MESSAGE_ENDS = re.compile(r"<\|(?:end|return|call|start)\|>")
_BARE_ANALYSIS, _BARE_FINAL = "analysis", "assistantfinal"
"""What is left of the channels where a server removes special tokens."""


def split_thinking(text: str) -> tuple[str | None, str]:
    """Split ``<think>…</think>answer`` into (thinking, answer); text without thinking is (``None``, text).

    Templates of some reasoning models put the opening tag into the prompt, so a closing tag alone ends thinking
    that began with the text. Thinking that never closes (cut off by a token limit) leaves an empty answer. Several
    blocks of thinking before the answer are joined.
    """
    body = text.lstrip()
    if body.startswith((_CHANNEL, "<|start|>")):
        return _split_channels(body)
    if body.startswith(_BARE_ANALYSIS) and _BARE_FINAL in body:
        thinking, _, answer = body.removeprefix(_BARE_ANALYSIS).partition(_BARE_FINAL)
        return thinking.strip(), answer.lstrip()
    if body.startswith(_OPENS):
        return _split_tags(body)
    return _split_closing_tag(body) or (None, text)


def without_thinking(text: str) -> str:
    """The answer in a text whose thinking is known from elsewhere, although the text may repeat it in tags."""
    if not text.lstrip().startswith((_CHANNEL, *_TAGS, *_OPEN_OF)):
        return text
    return split_thinking(text)[1] or text


def without_tags(thinking: str) -> str:
    """Thinking that is given apart from the answer, without the tags around it that some servers leave."""
    body = thinking.strip()
    opened = _opening_of(body)
    if opened:
        return body[len(opened) :].removesuffix(_TAGS[opened]).strip()
    closed = next((close for close in _OPEN_OF if body.endswith(close)), None)
    return body.removesuffix(closed).strip() if closed and _OPEN_OF[closed] not in body else thinking


def _split_closing_tag(body: str) -> tuple[str, str] | None:
    """Thinking whose opening tag is in the prompt; ``None`` if there is none."""
    if "/" not in body or not any(mark in body for mark in _CLOSE_MARKS):  # much faster than a search for each tag
        return None
    closes = [(at, close) for close in _OPEN_OF if (at := body.find(close)) >= 0]
    if not closes:
        return None
    at, close = min(closes)
    if _OPEN_OF[close] in body[:at]:  # quoted inside the text, not at its start
        return None
    return body[:at].strip(), body[at + len(close) :].lstrip()


def _opening_of(body: str, at: int = 0) -> str | None:
    return next((opened for opened in _OPENS if body.startswith(opened, at)), None)


def _split_tags(body: str) -> tuple[str, str]:
    """What is in the pairs of tags with which the text begins is thinking; what follows them is the answer."""
    thoughts, at = [], 0
    while opened := _opening_of(body, at):
        close, begin = _TAGS[opened], at + len(opened)
        end = body.find(close, begin)
        thoughts.append((body[begin:] if end < 0 else body[begin:end]).strip())
        at = len(body) if end < 0 else _SPACE.match(body, end + len(close)).end()  # type: ignore[union-attr]
    return "\n\n".join(filter(None, thoughts)), body[at:]


def _split_channels(body: str) -> tuple[str | None, str]:
    """What is on the channel ``final`` is the answer; everything else is thinking."""
    thoughts: list[str] = []
    answers: list[str] = []
    for message in body.split(_CHANNEL)[1:]:
        channel, _, said = message.partition(_MESSAGE)
        said = _MESSAGE_ENDS.split(said, maxsplit=1)[0].strip()
        (answers if channel.strip().startswith("final") else thoughts).append(said)
    return "\n\n".join(filter(None, thoughts)) or None, "\n\n".join(filter(None, answers))
