r"""The final answer that an attempt gives, and the rivals that make it doubtful.

An answer in a box counts most; then a clear closing phrase ("the answer is 5", "#### 5"); then, weakest, the one
number of a concluding last sentence ("So she has 5 apples left."). Anything vaguer is no answer at all.
"""

import re
from typing import Literal

from msgspec import Struct

from workers.answers.number import read_number
from workers.answers.text import LONGEST, clean, group_end

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_UNBRACED = re.compile(r"[^\s$\\{}]{1,40}")
_MOST_BOXES = 64
_NEAR = 70
"""Characters between two boxes that still belong to one statement."""

_TAIL = 600
"""How far from the end of an attempt its closing phrase may begin."""
_PHRASE = re.compile(
    r"\banswer(?:\s+to\s+[^.\n:]{1,80})?[ \t*_]*(?:\bis\b|\bare\b|[:=])[ \t*_:]*\n{0,2}[ \t*_]*(\S[^\n]{0,200})|"
    r"^[ \t]*\#{3,4}[ \t]*([^\s#][^\n]{0,100})$|"
    r"^[ \t]*\#{1,6}[ \t*_]*final[ ]answer[ \t*_:]*\n+[ \t*_]*(\S[^\n]{0,200})",
    re.IGNORECASE | re.MULTILINE,
)
_STOP = re.compile(r"[.!?](?=\s|$)|\s+(?:because|since|as)\s")
_CONCLUDES = re.compile(r"\W*(?:therefore|thus|hence|so|in total|in conclusion|altogether|finally)\b", re.IGNORECASE)
_LAST_SENTENCE = re.compile(r"(?:^|[.!?]\s|\n)([^\n]{1,300}?[.!])[\s*_]*\Z")
_EQUALS = re.compile(r"(?:=|\bequals\b)\s*(-?[$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?)[^\d=]{0,30}\Z")
_NUMERAL = re.compile(r"-?[$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")

How = Literal["box", "phrase", "conclusion"]


class Final(Struct, frozen=True):
    r"""A final answer and how it was found.

    ``beside`` are other answers given in the same breath (two boxes with "or" between them) or after it; ``earlier``
    are boxes further up.
    """

    text: str
    how: How
    beside: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()


def find_final(attempt: str) -> Final | None:
    """Find the final answer of an attempt, or ``None`` if it gives none that is clear. Thinking does not count."""
    attempt = attempt.rpartition("</think>")[2].strip()
    starts = [match.start() for match in _BOX.finditer(attempt)]
    phrase = _phrase(attempt)
    if starts:
        boxes = _boxes(attempt, starts[-_MOST_BOXES:])
        if boxes is None:
            return None
        found = _from_boxes(attempt, boxes)
        end = boxes[-1][2] if boxes else 0
        if found is not None and phrase is not None and phrase[1] >= end and "\\boxed" not in phrase[0]:
            return Final(found.text, "box", (*found.beside, phrase[0]), found.earlier)
        return found
    if phrase is not None:
        return Final(phrase[0], "phrase")
    number = _conclusion(attempt)
    return None if number is None else Final(number, "conclusion")


def final_answer(attempt: str) -> str | None:
    """The attempt's own final answer as it wrote it, or ``None`` if none is clear."""
    found = find_final(attempt)
    return None if found is None else found.text


def in_brief(attempt: str) -> str:
    r"""The attempt's conclusion in one line, where it comes to one clear boxed answer; else the attempt as it is.

    Attempts that come to the same answer then are the same text, and a judge model has a few words to read.
    """
    found = find_final(attempt)
    if found is None or found.how != "box" or found.beside or found.earlier:
        return attempt
    return f"The final answer is \\boxed{{{found.text}}}."


def _boxes(attempt: str, starts: list[int]) -> list[tuple[str, int, int]] | None:
    """Contents, starts and ends of the boxes, outermost ones only; ``None`` if the last one never closes."""
    boxes: list[tuple[str, int, int]] = []
    past = -1
    for start in starts:
        if start < past:
            continue  # a box inside a box
        match = _BOX.match(attempt, start)
        assert match is not None
        at = match.end()
        if attempt[at : at + 1] == "{":
            end = group_end(attempt[: at + 4 * LONGEST], at)
            if end is None:
                if start == starts[-1]:
                    return None
                continue
            boxes.append((attempt[at + 1 : end - 1].strip(), start, end))
            past = end
        elif token := _UNBRACED.match(attempt, at):
            boxes.append((token[0], start, token.end()))
    return [box for box in boxes if box[0]]


def _from_boxes(attempt: str, boxes: list[tuple[str, int, int]]) -> Final | None:
    if not boxes:
        return None
    last, last_start, _ = boxes[-1]
    beside: list[str] = []
    earlier: list[str] = []
    near = True
    for content, start, end in reversed(boxes[:-1]):
        between = attempt[end:last_start]
        near = near and len(between) <= _NEAR and "\n\n" not in between
        last_start = start
        if clean(content) != clean(last):
            (beside if near else earlier).append(content)
    return Final(last, "box", tuple(beside[::-1]), tuple(earlier[::-1])) if len(last) <= LONGEST else None


def _phrase(attempt: str) -> tuple[str, int] | None:
    """The last closing phrase's answer and where the phrase starts."""
    offset = max(0, len(attempt) - _TAIL)
    phrases = list(_PHRASE.finditer(attempt, offset))
    if not phrases:
        return None
    last = phrases[-1]
    said = next(group for group in last.groups() if group is not None)
    text = clean(_STOP.split(said, maxsplit=1)[0].strip(" \t*_"))
    hashes = last[2] is not None
    if not text or text.lower().startswith(("not ", "that ")) or (hashes and read_number(text) is None):
        return None
    return (text, last.start()) if len(text) <= 80 else None


def _conclusion(attempt: str) -> str | None:
    """What a finished, concluding last sentence comes to: its only number, or the one after its last equals."""
    tail = attempt[-_TAIL:]
    found = _LAST_SENTENCE.search(tail)
    if found is None or _CONCLUDES.match(found[1]) is None:
        return None
    if result := _EQUALS.search(found[1]):
        return result[1].rstrip(",")
    numerals = _NUMERAL.findall(found[1])
    return numerals[0].rstrip(",") if len(set(numerals)) == 1 else None
