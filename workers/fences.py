"""Code fences in a text: what stands in one is code, whatever it looks like."""

import re

_MARK = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


def fences(text: str) -> list[tuple[int, int]]:
    """The spans of the fences, with the lines that open and close them. One that never closes is none."""
    spans: list[tuple[int, int]] = []
    opened: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        if opened is None:
            if mark[1][0] != "`" or "`" not in mark[2]:
                opened = mark
        elif mark[1].startswith(opened[1]) and not mark[2].strip():
            spans.append((opened.start(), mark.end()))
            opened = None
    return spans


def past_fence(text: str, at: int) -> int:
    """The end of the fence that a cut at this offset would leave open; else the offset itself."""
    return next((end for start, end in fences(text) if start < at < end), at)
