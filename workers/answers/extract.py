r"""The final answer that an attempt gives, and the other answers that make it doubtful.

An answer in a box counts most; then a closing statement ("the answer is 5", "#### 5") with which the attempt ends.
Anything vaguer does not count as an answer: "so she has 5" may be a step on the way.
"""

import re
from collections import deque
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from workers.answers.adjoining import is_doubted, with_adjoining
from workers.answers.number import read_number
from workers.answers.text import LONGEST, clean, group_end, looks_mathematical
from workers.rules import RULES

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
_STOP = re.compile(r"[.!?](?=\s|$)|(?<!\s)\s++(?:because|since|as)\s")
_REASON = re.compile(r"\s++(?:because|since|as)\s[^\n]*")
_SENTENCE_START = re.compile(r"[.!?\n]")
_LEAD = re.compile(
    r"[\W_]*(?:(?:so|thus|hence|therefore|finally|then|and|in conclusion|we conclude|we find|this means|that|the|final|"
    r"correct|right|our|my|your)[\W_]+)*",
    re.IGNORECASE,
)
"""What may stand before "answer is" in its sentence: any other word may deny, assume or quote it."""
_NEEDLESS = " \t\n*_$`\"'.)\\]"

_TAGGED = re.compile(r"<answer>((?:[^<]|<(?!/?answer>)){1,600})</answer>", re.IGNORECASE)
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
BARE = 80
"""Characters of the longest reply that may be nothing but its answer."""
_LETTER = re.compile(r"\(?[A-J]\)?\.?")

BRIEFLY = r"The final answer is \boxed{%s}."
_IN_BRIEF = re.compile(re.escape(BRIEFLY).replace("%s", r"([\w.,/-]{1,80})"))
"""What ``in_brief`` makes of most attempts; it need not be looked at again."""

How = Literal["box", "phrase", "bare"]


class Final(Struct, frozen=True):
    r"""A final answer and how it was found.

    ``clear`` is false where text around it may change or withdraw it. ``bare``: it is exactly what the
    box holds. ``beside`` are other answers given right next to it (two boxes with "or" between them) or after it;
    ``earlier`` are boxes further up.
    """

    text: str
    how: How
    clear: bool = True
    bare: bool = True
    beside: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()


@lru_cache(maxsize=16)  # one verdict asks for the same attempt several times
def find_final(attempt: str, rules: int = RULES) -> Final | None:
    """Find the final answer of an attempt, or ``None`` if it gives none that is clear. Thinking does not count."""
    if brief := _IN_BRIEF.fullmatch(attempt):
        return Final(brief[1], "box")
    attempt = without_thinking(attempt)
    if rules >= 2:
        if "<" in attempt and _TAG.search(attempt):
            return _tagged(attempt, rules)
        if _is_bare(attempt, rules):
            return Final(attempt, "bare")
    if starts := _starts(attempt):
        boxes = _boxes(attempt, starts)
        return _from_boxes(attempt, boxes, rules) if boxes else None
    phrase = _phrase(attempt)
    return None if phrase is None else Final(phrase[0], "phrase", clear=phrase[2])


def has_no_answer(attempt: str) -> bool:
    """Does a text that was cut off hold no answer, not even the start of one?"""
    attempt = without_thinking(attempt)
    return _boxes(attempt, _starts(attempt)) == [] and _PHRASE.search(attempt, max(0, len(attempt) - _TAIL)) is None


def final_answer(attempt: str, rules: int = RULES) -> str | None:
    """The attempt's own final answer as it wrote it, or ``None`` if none is clear."""
    found = find_final(attempt, rules)
    return None if found is None else found.text


@lru_cache(maxsize=1024)  # a reference is compared with dozens of attempts
def bare_reference(reference: str, rules: int = RULES) -> str:
    r"""The answer in a reference that is a whole solution, as raw data sets have it: after "####", or in a box.

    A reference without one clear such answer stays as it is.
    """
    if "####" not in reference and _BOX.search(reference) is None:
        return reference
    found = find_final(reference, rules)
    clear = found is not None and found.clear and not (found.beside or found.earlier)
    return found.text if found is not None and clear else reference


def in_brief(attempt: str, rules: int = RULES) -> str:
    r"""The attempt's conclusion in one line if it has exactly one clear boxed answer; else the attempt as it is.

    Attempts with the same answer then become the same text, and a judge model has only a few words to read.
    """
    found = find_final(attempt, rules)
    if found is None or found.how != "box" or found.beside or found.earlier or not (found.clear and found.bare):
        return attempt
    return BRIEFLY % found.text


def without_thinking(attempt: str) -> str:
    """The attempt without its thinking; empty if the thinking never ends."""
    _, closed, spoken = attempt.rpartition("</think>")
    spoken = spoken.strip()
    return "" if not closed and spoken.startswith("<think>") else spoken


def _tagged(attempt: str, rules: int) -> Final | None:
    """The answer between ``<answer>`` tags, with which an attempt ends; in doubt if another one is given."""
    last = None
    for last in _TAGGED.finditer(attempt):  # noqa: B007 - the last one is wanted
        pass
    if last is None or attempt[last.end() :].strip():
        return None
    before, inner = attempt[: last.start()], last[1].strip()
    found = find_final(inner, rules)
    if found is None and "\n" not in inner and len(inner) <= LONGEST:
        found = Final(inner, "bare")
    if found is None or not found.text:
        return None
    boxes = _boxes(before, _starts(before)) or []
    others = [content for content, _, _ in boxes if clean(content) != clean(found.text)]
    return Final(
        found.text,
        found.how,
        found.clear and _TAG.search(before) is None,
        found.bare,
        (*found.beside, *others),
        found.earlier,
    )


def _is_bare(attempt: str, rules: int) -> bool:
    """Is a whole reply nothing but a value: a number, an option's letter or a formula?"""
    if not attempt or len(attempt) > BARE or "\n" in attempt or _BOX.search(attempt) or attempt.startswith("#"):
        return False
    text = clean(attempt)
    return _LETTER.fullmatch(text) is not None or read_number(text, rules) is not None or _is_formula(text)


def _is_formula(text: str) -> bool:
    return (
        any(character.isdigit() or character == "\\" for character in text)
        and "?" not in text
        and looks_mathematical(text)
    )


def _starts(attempt: str) -> list[int]:
    """Where the last boxes start."""
    return [match.start() for match in deque(_BOX.finditer(attempt), maxlen=_MOST_BOXES)]


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
            length = group_end(attempt[at : at + 4 * LONGEST], 0)
            if length is None:
                if start == starts[-1]:
                    return None
                continue
            end = at + length
            boxes.append((attempt[at + 1 : end - 1].strip(), start, end))
            past = end
        elif token := _UNBRACED.match(attempt, at):
            boxes.append((token[0], start, token.end()))
    return [box for box in boxes if box[0]]


def _from_boxes(attempt: str, boxes: list[tuple[str, int, int]], rules: int) -> Final | None:
    last, last_start, last_end = boxes[-1]
    if len(last) > LONGEST:
        return None
    whole = with_adjoining(attempt, last_start, last_end, last, rules)
    clear = whole is not None and not is_doubted(attempt[last_end:])
    beside: list[str] = []
    earlier: list[str] = []
    near = True
    for content, start, end in reversed(boxes[:-1]):
        between = attempt[end:last_start]
        near = near and len(between) <= _NEAR and "\n\n" not in between
        last_start = start
        if clean(content) != clean(last):
            (beside if near else earlier).insert(0, content)
    phrase = None if _may_begin(attempt, last_end) is None else _phrase(attempt)  # most end with the box
    if phrase is not None and phrase[1] >= last_end and "\\boxed" not in phrase[0]:
        beside.append(phrase[0])
    return Final(whole or last, "box", clear, whole == last, tuple(beside), tuple(earlier))


def _may_begin(attempt: str, begin: int) -> int | None:
    """Where from ``begin`` on the first phrase may start, at the earliest: much faster than the pattern itself."""
    tail = attempt[begin:]
    if not tail.isascii():
        return begin
    word, mark = tail.lower().find("answer"), tail.find("#")
    starts = [word] if word >= 0 else []
    if mark >= 0:
        starts.append(tail.rfind("\n", 0, mark) + 1)
    return begin + min(starts) if starts else None


def _phrase(attempt: str) -> tuple[str, int, bool] | None:
    """The last closing phrase's answer, where the phrase starts, and whether the attempt clearly ends with it."""
    last = None
    if (begin := _may_begin(attempt, max(0, len(attempt) - _TAIL))) is None:
        return None
    for last in _PHRASE.finditer(attempt, begin):  # noqa: B007 - the last one is wanted
        pass
    if last is None or last.lastindex is None:
        return None
    said = last[last.lastindex]
    stop = _STOP.search(said)
    text = clean(said[: stop.start() if stop else None].strip(" \t*_"))
    if not text or len(text) > 80 or text.lower().startswith(("not ", "that ")):
        return None
    if last[2] is not None and read_number(text) is None:
        return None
    lead = _SENTENCE_START.split(attempt[max(0, last.start() - _TAIL) : last.start()])[-1]
    rest = attempt[last.start(last.lastindex) + (stop.start() if stop else len(said)) :]
    ends = not rest.strip(_NEEDLESS + "!") or (_REASON.fullmatch(rest) is not None and not is_doubted(rest))
    return text, last.start(), ends and _LEAD.fullmatch(lead) is not None
