r"""The text next to a box: the sign, currency, unit, percent sign or scale word that belongs to the answer inside it.

Models often box only a part of their answer: ``-\boxed{5}``, ``$\boxed{5}$ cm``, ``\boxed{5} million``,
``x > \boxed{5}``. Text with only one possible reading is joined to the content of the box. Text that is known to mean
nothing (an equals sign, "so we get", a full stop) is skipped. With any other text the answer is unclear. So the lists
here contain what is understood.
"""

import re

from workers.answers.number import read_number, unit_read
from workers.answers.text import words
from workers.rules import RULES

_REACH = 160
"""Characters of its line that are read on either side of a box."""
_STYLED = re.compile(r"\\(?:text|textbf|textit|textrm|mathbf|mathrm)\s*\{([^{}]*)\}")
_LAYOUT = re.compile(
    r"\\begin\{[a-z]+\*?\}|&|\\\\|\\[,;:! ]|"
    r"\\(?:q?quad|displaystyle|left|right|therefore|implies|[Rr]ightarrow|[Ll]ongrightarrow|to)(?![A-Za-z])"
)
_OPENED = re.compile(
    r"(?:\s|(?<!\\)\$|\\[\[(]|(?:(?<=\s)|\A)[*_]{1,3}|[\"`]|(?:(?<=\s)|\A)\(|"
    r"(?:\\(?:text|textbf|textit|mathbf|mathrm|bm|boldsymbol|underline|[lL]arge|[hH]uge|color\{\w+\})\s*|(?<![\w}^_\\]))\{)+\Z"
)
_CLOSED = re.compile(r"(?:\s|(?<!\\)\$|\\[\])]|[*_]|[\"`]|\\(?:qed|blacksquare|square|checkmark)(?![A-Za-z])|[✓✅■□])*")
_LINE_END = re.compile(r"\n|\\\\|\\end\{|&")
_WORD = re.compile(r"(?<![\\A-Za-z])(?:[A-Za-z]{2,}|a)\Z")
_CHANGES_ANSWER = re.compile(
    r"\b(?:not|never|cannot|than|least|most|about|approximately|roughly|nearly|almost|minus|plus|negative|times|over|"
    r"under|below|above|except|wrong|incorrect|if|whether|exceeds?|by)\W+(?:\w+\W+){0,2}\Z|n't\W+(?:\w+\W+){0,2}\Z",
    re.IGNORECASE,
)
_SKIPPED = re.compile(r"\A\Z|(?<![!<>=:~≠])=\Z|(?<!\d):\Z|(?<![\d)}]),\Z")
_NEGATED_EQUALS = re.compile(r"\\not\s*=\Z")
_STOPPED = re.compile(r"\.(?!\d)|;|,\s+(?:since|because|as|which|so)\b|,(?=[A-Za-z\s'\"()-]*(?:\.(?!\d)|\Z))")
_SAYS_NOTHING = re.compile(
    r"(?:because|since|as|so|for|when|where|in\s+(?:total|all|the)|"
    r"(?:is|are)\s+(?:the|our|my|your)\s+(?:(?:final|correct|right|required|desired|only)\s+)?"
    r"(?:answer|solution|result|value)s?)\b",
    re.IGNORECASE,
)
_NAMES_IT = re.compile(
    r"(?:is|are|gives|equals)\s+(?:the|our|its|your)\s+(?:[a-z]+\s+)?(?:number|value|sum|product|probability|area|length|"
    r"volume|perimeter|amount|cost|price|total|answer|result|distance|time|age|ratio|remainder|minimum|maximum|solution)s?"
    r"\b[A-Za-z ,'\"$()-]{0,160}(?:[.!]\s*)?\Z"
)
"""Words behind a box that only say what the answer is: "is the number of ways"."""
_NARROWS = re.compile(
    r"\b(?:first|second|third|previous|only|half|twice|double|other|remaining|rest|part|step|bound|before|until|so far|"
    r"times|plus|minus|more|less|fewer|than|not|if|unless|without|except|wrong|incorrect|then|hence|we|so)\b",
    re.IGNORECASE,
)
_UNIT_END = re.compile(
    r"[,;:!?]|\.(?!\d)|\s(?:is|are|was|were|because|since|as|for|in|at|on|each|every|when|to|so|that)\b"
)
_MAY_BE_UNIT = re.compile(r"[A-Za-z%°]|\\(?:%|text|mathrm)|\^\s*\{?\s*\\circ")
_DOUBT = re.compile(
    r"\b(?:wait|however|but|actually|incorrect|wrong|mistaken?|error|not|cannot|instead|oops|sorry|correction|re-?check|"
    r"reconsider|should|no|doubt|unsure|contradict\w*|maybe|perhaps|alternatively)\b|n't\b",
    re.IGNORECASE,
)
_MOST_AFTER = 20_000


def is_doubted(text: str) -> bool:
    """Does what follows an answer hold a word that may take the answer back?"""
    return _DOUBT.search(text, 0, _MOST_AFTER) is not None


def with_adjoining(attempt: str, start: int, end: int, content: str, rules: int = RULES) -> str | None:
    """The answer in a box together with the text next to the box; ``None`` where that is not clear.

    Args:
        attempt: the text.
        start: where the box starts in it.
        end: where it ends.
        content: what is in it.
        rules: the version of the rules.
    """
    head = attempt[max(0, start - _REACH) : start].rpartition("\n")[2]
    tail = _LINE_END.split(attempt[end : end + _REACH], maxsplit=1)[0]
    opened, sign = _before(_LAYOUT.sub(" ", _STYLED.sub(r" \1 ", head)))
    if sign is None:
        return None
    for opening, closing in (("{", "}"), ("(", ")")):
        for _ in range(opened.replace("\\(", "").count(opening)):
            inner, found, tail = tail.partition(closing)
            if not found or _CLOSED.fullmatch(inner) is None:
                return None
    answer = sign + content
    if sign and read_number(answer, rules) is None:
        return None
    return _with_tail(answer, _LAYOUT.sub(" ", tail), rules)


def _may_open(head: str) -> int:
    """Where what is opened before the box begins, at the earliest: only macros have letters or digits."""
    if "\\" in head:
        return 0
    at = len(head)
    while at and not head[at - 1].isalnum():
        at -= 1
    return at


def _before(head: str) -> tuple[str, str | None]:
    """The brackets opened before the box, and its sign: ``""`` if none, ``None`` if something else is there."""
    found = _OPENED.search(head, _may_open(head))
    before, opened = (head, "") if found is None else (head[: found.start()], found[0])
    if before.endswith(("-", "−")):
        further, sign = _before(before[:-1])
        spaced = opened.strip("$") != "" and not before[:-1].rstrip().endswith("=")
        is_sign = further != "" or before[:-1].endswith("=") or before == "-"
        return opened + further, "-" if sign == "" and is_sign and not spaced else None
    if before.endswith("\\$"):
        return opened, "$" if _before(before[:-2])[1] == "" else None
    if _CHANGES_ANSWER.search(head) or _NEGATED_EQUALS.search(before):
        return opened, None
    skipped = _SKIPPED.search(before) or (
        opened and (before.endswith((")", ".", ";", "!", "?")) or _WORD.search(before))
    )
    return opened, "" if skipped else None


def _with_tail(answer: str, tail: str, rules: int) -> str | None:
    closed = _CLOSED.match(tail)
    rest = tail[closed.end() if closed else 0 :].strip()
    following = words(rest)
    if not rest or _STOPPED.match(rest) or _SAYS_NOTHING.match(following):
        return answer
    if rules >= 2 and _NAMES_IT.match(following) and not _NARROWS.search(following):
        return answer
    if _MAY_BE_UNIT.match(rest) is None:
        return None
    unit = _UNIT_END.split(re.sub(r"(?<!\\)\$|\\[\])]|\*\*", " ", rest), maxsplit=1)[0].strip()
    number = read_number(answer, rules)
    if number is not None:
        has_unit = number.percent or number.unit is not None
        return (
            f"{answer} {unit}" if unit and not has_unit and read_number(f"{answer} {unit}", rules) is not None else None
        )
    named = unit_read(words(unit), marked=True, rules=rules)
    return None if named is None or "\\text" in answer else rf"{answer}\text{{ {words(unit)} }}"
