"""Texts of models and data sets made safe and readable in HTML: escaped, controls made visible, LaTeX as MathML.

latex2mathml does not escape what it is given and lets links and styles through, so of its tree only known elements and
harmless attributes are taken, and every text in it is escaped here like any other.
"""

import html
import re
import unicodedata
from xml.etree.ElementTree import Element

SHOWN = 20_000
"""Characters of one text that are shown."""

_MATH = re.compile(
    r"\$\$(?P<d>[^$]{1,2000}?)\$\$|\\\[(?P<b>.{1,2000}?)\\\]|\\\((?P<p>.{1,2000}?)\\\)"
    r"|(?<![\\$\w])\$(?P<i>[^\s$](?:[^$\n]{0,1000}[^\s$\\])?)\$(?![\d$])"
    r"|(?P<x>\\boxed\{(?:[^{}\n]|\{[^{}\n]*\}){1,500}\})",
    re.DOTALL,
)
_ELEMENTS = re.compile(
    "math|m(row|i|n|o|text|space|frac|sqrt|root|sub|sup|subsup|under|over|underover|table|tr|td|style|enclose|padded)"
)
_ATTRIBUTES = {"display", "mathvariant", "stretchy", "displaystyle", "scriptlevel", "columnalign", "accent", "fence"}
_KEPT = {"\n", "\t"}


def escape(text: str) -> str:
    """The text for HTML: markup escaped, characters that act on a terminal or turn the writing direction shown."""
    unified = text.replace("\r\n", "\n")
    return html.escape("".join(c if c.isprintable() or c in _KEPT else _shown(c) for c in unified))


def _shown(character: str) -> str:
    return character if unicodedata.category(character) == "Zs" else f"⟨U+{ord(character):04X}⟩"


def line(text: str, limit: int = 160) -> str:
    """The text's beginning on one line, escaped."""
    one = " ".join(text[: 4 * limit].split())
    return escape(one if len(one) <= limit else one[: limit - 1] + "…")


def prose(text: str, limit: int = SHOWN) -> str:
    """A text with its mathematics, escaped, and what of it is not shown said."""
    shown = text[:limit]
    pieces, at = [], 0
    for match in _MATH.finditer(shown):
        kind = match.lastgroup or "x"
        drawn = _mathml(match[kind], block=kind in "db")
        if drawn is not None:
            pieces += [escape(shown[at : match.start()]), drawn]
            at = match.end()
    pieces.append(escape(shown[at:]))
    if len(text) > limit:
        pieces.append(f'<span class="more"> … {len(text) - limit:,} more characters</span>')
    return "".join(pieces)


def _mathml(latex: str, *, block: bool) -> str | None:
    """MathML for LaTeX, ``None`` where it does not parse."""
    from latex2mathml.converter import convert_to_element  # noqa: PLC0415 - only a report draws mathematics

    try:
        return _safe(convert_to_element(latex, display="block" if block else "inline"))
    except Exception:  # noqa: BLE001 - whatever the matter is: it stays text
        return None


def _safe(element: Element) -> str:
    if not _ELEMENTS.fullmatch(element.tag):
        raise ValueError(element.tag)
    attributes = "".join(
        f' {name}="{html.escape(value)}"' for name, value in element.attrib.items() if name in _ATTRIBUTES
    )
    inside = escape(html.unescape(element.text or "")) + "".join(map(_safe, element))
    return f"<{element.tag}{attributes}>{inside}</{element.tag}>" + escape(html.unescape(element.tail or ""))
