r"""What looks like arithmetic and may be none: labels, dates, scores, phone numbers, sizes, commas in numbers.

A parser takes ``A1`` for a product, ``2024-01-05`` for a difference and ``4 \times 6`` for 24. Where the two sides are
written alike they are equal before anybody asks here; everything else about them is a doubt.
"""

import re

_UNIT = re.compile(r"\\text\{[^{}]{1,60}\}(?: ?\^ ?\{?\d\}?)? ?\Z")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\.")
_LABEL = re.compile(r"[A-Za-z]\d")
"""A letter before a digit: ``A1``, ``x2``, the exponent of ``1e9``, or the square of a chess board."""
_CHAIN = re.compile(r"\+?\(?\d[\d.]{0,9}\)?(?: ?- ?\d[\d.]{0,9})+|\d{1,9}(?: ?/ ?\d{1,9}){2,}")
_SIZE = re.compile(r"(?:\d[\d.,]{0,9})?[A-Za-z]?(?: ?(?:\\times|\*) ?+(?:\d[\d.,]{0,9})?[A-Za-z]?)+")
"""The space behind a sign belongs to it alone, so that ``* * *`` has one reading: two a sign take exponential time."""
_ROOT = re.compile(r"\\sqrt ?\[ ?(\d) ?\]")
_TIGHT_LOG = re.compile(r"\\log ?_ ?\d\d")
"""The logarithm to the base 2 of 8, or to the base 28?"""
_JOINED = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?!\d|[,.]\d)")
_MAY_JOIN = re.compile(r"\d,\d{3}(?!\d)")
_SEPARATOR = re.compile(r",\s|;|\b(?:and|or)\b")
_PLAIN_COMMA = re.compile(r",(?!\s)")


def may_be_no_arithmetic(text: str) -> bool:
    """Would a parser compute what a reader takes for a label, a date, a score, a phone number or a size?"""
    bare, amount = _COMMAND.sub("#", text), _UNIT.sub("", text).strip()
    root = _ROOT.search(text) is not None and "-" in text  # no parser here has the real root of a negative number
    return root or any(
        found is not None
        for found in (
            _LABEL.search(bare),
            _TIGHT_LOG.search(text),
            _CHAIN.fullmatch(amount),
            _SIZE.fullmatch(amount),
        )
    )


def with_braced_index(text: str) -> str:
    r"""Roots with their index in braces: ``\sqrt[3]{27}`` is no product by ``[3]``."""
    return _ROOT.sub(r"\\sqrt[{\1}]", text)


def with_joined_digits(text: str) -> str:
    """A list with its thousands joined where its spaces show them: ``(1,250, 3)`` has two items."""
    if _SEPARATOR.search(text) is None:
        return text
    joined = _JOINED.sub(lambda found: found[0].replace(",", ""), text)
    return text if _PLAIN_COMMA.search(joined) else joined


def may_join_digits(text: str) -> bool:
    """Does it hold a comma that may group digits or separate items?"""
    return _MAY_JOIN.search(text) is not None
