r"""One spelling for answers that have many: wrappers, spacing macros and look-alike characters around an answer.

Nothing here changes what an answer says; where a rewrite could (``1 234``, ``2½``), the text is left as it is and the
callers find that they cannot read it. Every pattern is linear in its input, as models may write hostile text.
"""

import re
from functools import lru_cache

LONGEST = 600
"""Characters; a longer text is not a final answer, and is not read."""

_MOST_LAYERS = 8
_GROUPED = re.compile(
    r"(?<=\d)(?:\s*+(?:,\s?\\!|\\[,!;:]|\{,\})|[^\S\u2009\u202f\u00a0]*+[\u2009\u202f\u00a0])\s*+(?=\d{3}(?!\d))"
)
_SPACING = re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|(?<=[\w}.,$])~|[\u2009\u202f\u00a0]")
_NOTHING = re.compile(r"\\!|\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])")
_TEXT = re.compile(r"\\(?:mathrm|textrm|textbf|textit|textnormal|mbox|hbox|text|operatorname)\*?\s*\{")
_BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm|mathsf)\s*\{([^{}]*)\}")
_LOOSE = re.compile(r"(?<![A-Za-z0-9])\s+|(?<=[A-Za-z])\s+(?![A-Za-z])|(?<=\d)\s+(?!\d)")
"""White space without a meaning: "3 4/5" is not "34/5", but "5 cm" is "5cm"."""
_FRAC = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_DEGREE = re.compile(r"\^\s*+(?:\{\s*+)?\\circ\s*\}?|\\degree(?![A-Za-z])")
_LOOKALIKES = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "﹣": "-",
        "－": "-",
        "×": r"\times ",
        "⋅": r"\cdot ",
        "·": r"\cdot ",
        "÷": "/",
        "∕": "/",
        "⁄": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "±": r"\pm ",
        "∪": r"\cup ",
        "²": "^2",
        "³": "^3",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
    }
)
_PAIRS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("__", "__"), ("`", "`"), ('"', '"'))


@lru_cache(maxsize=1024)  # a reference is compared with dozens of attempts
def clean(text: str) -> str:
    r"""The answer without what surrounds it, in plain macros: ``$\dfrac{1}{2}$.`` becomes ``\frac{1}{2}``."""
    if text.isascii() and text.isalnum():  # nearly always a number
        return text
    text = text.translate(_LOOKALIKES)
    text = _GROUPED.sub("", text)
    text = _SPACING.sub(" ", _NOTHING.sub("", text))
    text = _TEXT.sub(r"\\text{", _FRAC.sub(r"\\frac", text))
    text = _BOLD.sub(r"\1", text)
    text = _DEGREE.sub("°", text).replace("\\$", "$").replace("\\%", "%")
    for _ in range(_MOST_LAYERS):
        text, before = _peel(text.strip()), text
        if text == before:
            break
    return re.sub(r"\s+", " ", text)


def words(text: str) -> str:
    r"""``clean`` without ``\text{}`` around words."""
    return re.sub(r"\s+", " ", re.sub(r"\\text\{([^{}]*)\}", r" \1 ", clean(text))).strip()


def plain(text: str) -> str:
    """``words`` without any white space that is not between two words or two digits."""
    return _tight(words(text))


def same_spelling(one: str, other: str) -> bool:
    """Are two cleaned answers the same text, white space aside? Letters keep their case: x is not X."""
    return _tight(one) == _tight(other) != ""


def group_end(text: str, start: int) -> int | None:
    """Where the brace group that opens at ``text[start]`` ends (past its brace); ``None`` if it never does."""
    depth = 0
    at = start
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1  # an escaped brace does not count
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return None


def split_top(text: str, separators: str = ",;") -> list[str]:
    """Split at separators that stand outside every bracket and brace; commas in thousands are already removed."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        character = text[at]
        if character == "\\" and text[at + 1 : at + 2] in "{}":
            depth += 1 if text[at + 1 : at + 2] == "{" else -1
            at += 1
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character in separators and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    return [*parts, text[start:].strip()]


def _peel(text: str) -> str:
    """Take off one layer of wrapping."""
    if not text or (text[0] not in '$\\*_`"' and text[-1] not in ".,;"):
        return text
    for opening, closing in _PAIRS:
        inner = text[len(opening) : len(text) - len(closing)]
        wrapped = len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing)
        if wrapped and opening not in inner:
            return inner
    for opening in ("\\text{", "\\boxed{", "\\fbox{"):
        if text.startswith(opening) and group_end(text, len(opening) - 1) == len(text):
            return text[len(opening) : -1]
    if text.endswith((".", ",", ";")) and not text.endswith(("..", "\\,", "\\;")):
        return text[:-1]
    return text


def _tight(text: str) -> str:
    return _LOOSE.sub("", text.strip())


_TEX_WORD = re.compile(r"\\[A-Za-z]+")
_NO_PROSE = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}|\\text\{[^{}]*\}|\b(?:and|or)\b")
_LONG_WORD = re.compile(r"[A-Za-z]{3,}")


def looks_mathematical(text: str) -> bool:
    """Is this a formula, as far as a glance can tell? Prose in it, or great length, says no."""
    if len(text) > LONGEST:
        return False
    bare = _NO_PROSE.sub(" ", clean(text))
    return bool(bare.strip()) and _LONG_WORD.search(_TEX_WORD.sub(" ", bare)) is None
