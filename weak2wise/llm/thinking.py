"""Splits a model's inline thinking from the answer after it."""

OPEN, CLOSE = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str | None, str]:
    """Split ``<think>…</think>answer`` into (thinking, answer); text without thinking is (``None``, text).

    Templates of some reasoning models put the opening tag into the prompt, so a closing tag alone ends thinking
    that began with the text. Thinking that never closes (cut off by a token limit) leaves an empty answer.
    """
    body = text.lstrip()
    opened = body.startswith(OPEN)
    if opened:
        body = body[len(OPEN) :]
    thinking, closed, answer = body.partition(CLOSE)
    if not closed:
        return (body.strip(), "") if opened else (None, text)
    if not opened and OPEN in thinking:  # the tags are quoted inside the text, not at its start
        return None, text
    return thinking.strip(), answer.lstrip()
