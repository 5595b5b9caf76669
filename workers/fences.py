"""Code fences in a text: what stands in one is code, whatever it looks like."""

import re
from collections.abc import Iterable, Iterator

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


def outside(spans: list[tuple[int, int]], places: Iterable[int]) -> Iterator[int]:
    """The offsets, of several in ascending order, that are in none of the fences."""
    fence, following = (0, 0), iter(spans)
    for at in places:
        while at >= fence[1] and (later := next(following, None)):
            fence = later
        if not fence[0] < at < fence[1]:
            yield at


def past_fence(text: str, at: int) -> int:
    """The end of the fence that a cut at this offset would leave open; else the offset itself."""
    return next((end for start, end in fences(text) if start < at < end), at)
