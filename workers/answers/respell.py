r"""Other people's spellings in the macros that the readers here know: ``½``, ``sqrt(2)``, ``x⁴``, ``180 \mathrm{~cm}``.

Only what has one reading is respelled; the rest stays as it is, and the readers find that they cannot read it. Every
pattern is linear in its input.
"""

import re
from functools import lru_cache

from workers.answers.text import LONGEST

_PLAIN = re.compile(r"[-+\d.,/%$ ]*")
_INVISIBLE = dict.fromkeys([*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF])
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SIGNS = {
    "‐": "-", "‑": "-", "‒": "-", "≦": r"\le ", "≧": r"\ge ", "≠": r"\ne ", "∅": r"\emptyset ", "•": r"\cdot ",
    "、": ",", "∩": r"\cap ", "∈": r"\in ",
}  # fmt: skip
_CHARACTERS = str.maketrans({**_INVISIBLE, **_FULL_WIDTH, **{ord(sign): macro for sign, macro in _SIGNS.items()}})
_FRACTIONS = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5),
    "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9),
    "⅒": (1, 10),
}  # fmt: skip
_FRACTION = re.compile(rf"(?<![\w^_.)}}\]][^\W\d])(?<![A-Za-z^_.)}}\]])([{''.join(_FRACTIONS)}])")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile(r"(?<=[\w)\]}!])(?<![⁰¹²³⁴-⁹⁻⁺])([⁰¹²³⁴-⁹⁻⁺]{1,9})(?![⁰¹²³⁴-⁹⁻⁺√])")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT = re.compile(r"(?<=[\w)}])(?<![₀-₉])([₀-₉]{1,9})(?![₀-₉])")
_SIGN_ROOT = re.compile(
    r"(?<![⁰¹²³⁴-⁹])(√|∛|∜)\s?(?:(\d+(?:\.\d+)?|[A-Za-z])(?![\w(]|\.\d)|\(([^()√∛∜]{1,60})\)|\{([^{}√∛∜]{1,60})\})"
)
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}
_NAMED_ROOT = re.compile(r"(?<![A-Za-z\\])(sqrt|cbrt)\s?\(([^()]{1,60})\)")
_NAMED = re.compile(r"(?<![A-Za-z\\])(ln|sin|cos|tan|arctan|arcsin|arccos|pi)(?![A-Za-z(])")
_INFINITE = re.compile(r"([+-]?) ?(?:inf|infinity)")
_POWER = re.compile(r"(?<=[\w)}])\*\*(?=[\w(])(-?\d+|[A-Za-z])?(?![\w*])")
_LOG = re.compile(
    r"\\log\s?_\s?(?:(\d)|\{\s?(\w{1,9})\s?\})(?:\s|\\[,;:! ]){0,3}"
    r"(?:\(\s?(\d+(?:\.\d+)?)\s?\)|(\d+(?:\.\d+)?)(?![\d.]))?"
)
_SIZED = re.compile(r"\\(?:left|right)(?![A-Za-z]) ?")
_TIED = re.compile(r"(\\(?:mathrm|textrm|text|rm|mathsf)\s?\{)[~\s]+")
_SI = re.compile(r"\\(?:SI|qty)\s?\{([^{}]{1,60})\}\s?\{([A-Za-z/ ^0-9%-]{1,40})\}")
_WRAPPED = re.compile(r"\\(?:underline|mathbf|bf|bm)\s?\{([^{}]*)\}|\{\\(?:bf|rm|it)\s([^{}]*)\}|'([^']*)'")
_MICRO = re.compile(r"\\mu\s?(\\(?:mathrm|text)\s?\{)\s?")
_OHM = re.compile(r"\\(?:mathrm|text)\s?\{([^{}]{0,9})\}\s?\\Omega\b|(?<=\d)(?:\s|\\[,;:! ])*\\Omega\b")
_PER_UNIT = re.compile(r"\}\s?/\s?\\(?:mathrm|text)\s?\{")
_ABOUT = re.compile(r"\A\s*(?:\\approx|≈)(?![A-Za-z])\s*")
_BLANK_END = re.compile(r"(?:\\(?=\s*\Z)|\\[,;:!]\Z)")


@lru_cache(maxsize=1024)  # a reference is compared with dozens of attempts
def respelled(answer: str) -> str:
    """The same answer, spelled as the readers here know it."""
    if len(answer) > LONGEST or _PLAIN.fullmatch(answer):
        return answer
    text = _SIZED.sub("", answer.translate(_CHARACTERS))
    text = _TIED.sub(r"\1 ", _SI.sub(r"\1\\text{ \2}", text))
    text = _PER_UNIT.sub("/", _OHM.sub(lambda found: rf"\text{{{found[1] or ''}Ω}}", _MICRO.sub(r"\1µ", text)))
    text = _FRACTION.sub(lambda found: r"\frac{{{}}}{{{}}}".format(*_FRACTIONS[found[1]]), text)
    text = _SUPERSCRIPT.sub(_raised, text)
    text = _SUBSCRIPT.sub(lambda found: f"_{{{found[1].translate(_LOWERED)}}}", text)
    text = _SIGN_ROOT.sub(lambda f: rf"\sqrt{_DEGREES[f[1]]}{{{f[2] or f[3] or f[4]}}}", text)
    text = _NAMED_ROOT.sub(lambda f: rf"\sqrt{'[3]' if f[1] == 'cbrt' else ''}{{{f[2]}}}", text)
    text = _POWER.sub(lambda found: f"^{{{found[1]}}}" if found[1] else "^", _NAMED.sub(r"\\\1 ", text))
    text = _LOG.sub(_log, text)
    if infinite := _INFINITE.fullmatch(text.strip().lower()):
        return infinite[1] + r"\infty"
    if wrapped := _WRAPPED.fullmatch(text.strip()):
        text = wrapped[1] or wrapped[2] or wrapped[3] or ""
    return _BLANK_END.sub("", _ABOUT.sub("", text.strip()))


def _raised(found: re.Match[str]) -> str:
    power = found[1].translate(_RAISED)
    single = power.isdigit() and len(power) == 1 and not found.string[found.end() : found.end() + 1].isdigit()
    return f"^{power}" if single else f"^{{{power}}}"  # no braces in "\\text{ cm²}", where they would end the text


def _log(found: re.Match[str]) -> str:
    base, of = found[1] or found[2], found[3] or found[4]
    if found[1] and of and found[0].partition("_")[2].strip()[1:2].isdigit():
        return found[0]  # \log_28: of 8 to the base 2, or to the base 28
    return rf"\log_{{{base}}}" + (f"{{{of}}}" if of else " ")
