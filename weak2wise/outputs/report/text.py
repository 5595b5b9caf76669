"""Texts of models and data sets as safe HTML: escaped, control characters made visible, LaTeX as MathML.

latex2mathml does not escape its input and lets links and styles through. So only known elements and harmless
attributes of its tree are used, and every text in it is escaped here.
"""

import html
import re
import unicodedata
from functools import lru_cache
from xml.etree.ElementTree import Element

SHOWN = 20_000
"""Characters shown of one text."""

_MATH = re.compile(
    r"\$\$(?P<d>[^$]{1,2000}?)\$\$|\\\[(?P<b>.{1,2000}?)\\\]|\\\((?P<p>.{1,2000}?)\\\)"
    r"|(?<![\\$\w])\$(?P<i>[^\s$](?:[^$\n]{0,1000}[^\s$\\])?)\$(?![\d$])"
    r"|(?P<e>\\begin\{(?P<env>(?:align|gather|equation|eqnarray|multline|cases|array|[pbvBV]?matrix)(?:ed)?\*?)\}"
    r".{1,2000}?\\end\{(?P=env)\})"
    r"|(?P<x>\\boxed\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]{0,500}\}){0,500}\}){1,500}\})",
    re.DOTALL,
)
_LINES = re.compile(r"\\(begin|end)\{(?:aligned|gather(?:ed)?\*?|multline\*?|eqnarray\*?)\}")
"""Multi-line environments that latex2mathml would draw as one line."""
_WORDLESS = re.compile(r"\\(?:text|mbox|textbf|mathrm|operatorname)\{[^{}]*\}|\\(?:begin|end)\{\w+\*?\}|\\[A-Za-z]+")
_ELEMENTS = re.compile(
    "math|m(row|i|n|o|text|space|frac|sqrt|root|sub|sup|subsup|under|over|underover|table|tr|td|style|enclose|padded)"
)
_ATTRIBUTES = {
    *("display", "mathvariant", "stretchy", "displaystyle", "scriptlevel", "columnalign", "accent", "fence", "notation")
}
_SPACE = re.compile(r"\d{1,2}(\.\d{1,3})?(em|ex)")
"""Allowed widths of a space. A negative one would draw one text over another."""
_KEPT = {"\n", "\t"}


def duration(seconds: float) -> str:
    """A time in a few characters, such as 2 h 5 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def escape(text: str) -> str:
    """The text for HTML: markup is escaped, control and direction characters are made visible."""
    unified = text.replace("\r\n", "\n")
    return html.escape("".join(c if c.isprintable() or c in _KEPT else _shown(c) for c in unified))


def _shown(character: str) -> str:
    return character if unicodedata.category(character) == "Zs" else f"⟨U+{ord(character):04X}⟩"


def line(text: str, limit: int = 160) -> str:
    """The beginning of the text on one line, escaped."""
    one = " ".join(text[: 4 * limit].split())
    return escape(one if len(one) <= limit else one[: limit - 1] + "…")


def title(text: str, limit: int = 160) -> str:
    """The beginning of the text on one line, escaped, with formulas drawn. A formula is never cut in the middle."""
    one = " ".join(text[: 4 * limit].split())
    end = len(one) if len(one) <= limit else limit - 1
    for match in _MATH.finditer(one):
        if match.start() < end < match.end():  # a drawn formula is shorter than its LaTeX
            end = match.end() if match.end() <= 2 * limit else match.start() or end
    return _drawn(one[:end], blocks=False) + ("" if end == len(one) else "…")


def prose(text: str, limit: int = SHOWN) -> str:
    """The text, escaped, with formulas drawn. A note at the end says how many characters are not shown."""
    drawn = _drawn(text[:limit], blocks=True)
    if len(text) <= limit:
        return drawn
    return f'{drawn}<span class="more"> … {len(text) - limit:,} more characters</span>'


def answer(text: str) -> str:
    """A reference answer, escaped. A formula without delimiters, as in the MATH data set, is drawn."""
    formula = "\\" in text and len(text) <= 1000 and not re.search(r"[$\n]|\\[(\[]", text)
    if formula and not re.search("[A-Za-z]{3}", _WORDLESS.sub(" ", text)):
        drawn = _mathml(text, block=False)
        if drawn is not None and ">\\" not in drawn:  # an unknown command
            return drawn
    return prose(text)


def _drawn(text: str, *, blocks: bool) -> str:
    """The text, escaped, with formulas drawn. Display formulas get their own lines if ``blocks`` is set."""
    pieces, at = [], 0
    for match in _MATH.finditer(text):
        kind = match.lastgroup or "x"
        drawn = _mathml(match[kind], block=blocks and kind in "dbe")
        if drawn is not None:
            pieces += [escape(text[at : match.start()]), drawn]
            at = match.end()
    return "".join([*pieces, escape(text[at:])])


@lru_cache(maxsize=4096)
def _mathml(latex: str, *, block: bool) -> str | None:
    """MathML for LaTeX; ``None`` if it cannot be converted."""
    from latex2mathml.converter import convert_to_element  # noqa: PLC0415 - only a report draws mathematics

    try:
        lines = _LINES.sub(r"\\\1{align*}", latex)
        return _safe(convert_to_element(lines, display="block" if block else "inline"))
    except Exception:  # noqa: BLE001 - on any error the formula stays text
        return None


def _safe(element: Element) -> str:
    if not _ELEMENTS.fullmatch(element.tag) or element.text == "&":  # a column separator outside of columns
        raise ValueError(element.tag)
    attributes = "".join(
        f' {name}="{html.escape(value)}"'
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES or (element.tag == "mspace" and name == "width" and _SPACE.fullmatch(value))
    )
    inside = escape(html.unescape(element.text or "")) + "".join(map(_safe, element))
    return f"<{element.tag}{attributes}>{inside}</{element.tag}>" + escape(html.unescape(element.tail or ""))
