r"""The parsing tier: formulas, tuples, lists, sets, intervals, matrices and equations.

The structure is split here, by the brackets and commas as written, because parsers guess at it ("(3,4)" would always be
an interval); the scalars in it are parsed by math-verify's ``latex2sympy`` and compared by value (``values``).
``math_verify.verify`` compares inequalities and unions of sets. Only its "equal" is trusted: it rounds, and it says
"different" also for text that it cannot read.

The parser is lenient (it reads "3 4" and "3(4)" as 7, drops primes, folds A into a and lets matrices commute), so a
text that it may misread is rejected first. Importing this module imports sympy, and sympy may hang: use it only in a
process that can be killed.
"""

import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from msgspec import Struct

from workers.answers.compare import Compare, is_choice, quick_compare, same_equation
from workers.answers.doubts import may_be_no_arithmetic, may_join_digits, with_braced_index, with_joined_digits
from workers.answers.number import read_number
from workers.answers.text import clean, looks_mathematical, plain, split_top
from workers.answers.units import read_unit
from workers.answers.values import agree, proportional
from workers.rules import RULES

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that no time limit is set; our caller sets one
_CONFIG = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
_AND_OR = re.compile(r"\s*,?\s*(?:\\text\{\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))\s*")
_ELEMENT = re.compile(r"^[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_THOUSANDS = re.compile(r"\d,\d{3}(?!\d)")
_RELATION = re.compile(r"[<>]|\\(?:neq?|leq?|geq?|lt|gt|cup|cap|setminus)(?![A-Za-z])")
_MATRIX = re.compile(r"\\begin\{([bpB]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_UNIT = re.compile(r"(?P<rest>.*?)\\text\{(?P<unit>[^{}]*)\}(?P<power>\s*\^\s*\{?\d\}?)?", re.DOTALL)
_DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_UNBASED_LOG = re.compile(r"\\log(?!\s*_)(?![A-Za-z])")
_MISREAD = re.compile(
    r"\d\s*\\frac\s*(?:\{\s*\d+\s*\}|\d)"  # 2\frac{1}{3}x: a mixed number or a product
    r"|\d\s+[\d.]|/\s*[\d.]*\s*[A-Za-z\\(]*[A-Za-z(][\w(]*|/\s*[\d.]+\s*\\"  # 3 4, 1/2x
    r"|[\w)\]}!]\s*[(\[]\s*-?[\d.]+\s*[)\]]|[(\[]\s*-?[\d.]+\s*[)\]]\s*[\w(\[\\]"  # 3(4), (3)(4), x(2)
    r"|\\frac\s*\d\s*\d{2}|\\frac\s*\{[^{}]*\}\s*\d{2}|\\sqrt\s*\d{2}|\^\s*-?\d{2}|!\s*!"  # \frac123, 2^10, 5!!
    r"|\A\s*\d+\s*-\s*\d+\s*\Z"  # 3-5: a range, a date or a difference
    r"|\\(?:begin|times\s*[A-Za-z\\]|cdot\s*\\(?:vec|math)|vec|hat|tilde|dot|d?dot|bar|overrightarrow|widehat|not)"
    r"|[0-9A-F]_|\\text|[%$:?'\"~]|-\s*-|(?<![\\A-Za-z])[A-Za-z]\s+\d|\\[lc]?dots|\.\.|\.\(|\\overline"
)
_TRIGONOMETRIC = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_MIXED = re.compile(r"(?<![\d.])\d+\s*(?:\\text\{\s*and\s*\}|and)\s*(?:\d+\s*/|\\frac)")
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_LEADING_ZERO = re.compile(r"\d,0\d\d(?!\d)")
_IMAGINARY = sympy.Symbol("i")


class _Shape(Struct, frozen=True):
    """A text split by its outermost structure; ``marks`` are its brackets, or the shape of a matrix."""

    kind: str
    items: tuple[str, ...]
    marks: str = ""


def compare(answer: str, reference: str, rules: int = RULES) -> bool | None:
    """Compare two bare answers by all means; ``None`` where not sure."""
    quick = quick_compare(answer, reference, rules)
    if quick is not None or not (looks_mathematical(answer) and looks_mathematical(reference)):
        return quick
    numbers = read_number(answer, rules) is not None and read_number(reference, rules) is not None
    if numbers or is_choice(reference):
        return None  # the doubt is about what was asked, not about mathematics
    given, wanted = clean(answer), clean(reference)
    try:
        if rules < 2:
            return _compare(_read(given), _read(wanted), partial(compare, rules=rules))
        return _carefully(given, wanted)
    except Exception:  # noqa: BLE001 - the parsers may raise anything for text that they cannot read
        return None


def _carefully(given: str, wanted: str) -> bool | None:
    """Compare what is mathematics to a reader as well."""
    if may_be_no_arithmetic(given) or may_be_no_arithmetic(wanted):
        return None
    one, other = (_read(with_braced_index(with_joined_digits(text))) for text in (given, wanted))
    result = _compare(one, other, compare)
    if result is not False:
        return result
    alike = len(one.items) != len(other.items) or _digits(one) == _digits(other)
    grouped = alike and (may_join_digits(given) or may_join_digits(wanted))
    return None if grouped or _may_be_list(one, other) else False


def _may_be_list(one: _Shape, other: _Shape) -> bool:
    """Do the items differ only in their order, and is one side perhaps a list that has none?"""
    if {one.kind, other.kind} != {"bracket"} or "[]" not in (one.marks, other.marks):
        return False
    if len(one.items) == len(other.items) and all(map(compare, one.items, other.items)):
        return False  # it is their brackets that differ
    left = list(other.items)
    for item in one.items:
        found = next((at for at, candidate in enumerate(left) if compare(item, candidate)), None)
        if found is None:
            return False
        del left[found]
    return True


def _read(text: str) -> _Shape:
    text = _ELEMENT.sub("", text)
    if _MIXED.search(text) or _LEADING_ZERO.search(text):
        raise ValueError("a mixed number, or one with grouped digits, that looks like a list")
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in matrix[2].split(r"\\") if row.strip()]
        shape = " ".join(str(len(row)) for row in rows)
        return _Shape("matrix", tuple(cell.strip() for row in rows for cell in row), f"{matrix[1]} {shape}")
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return _Shape("set", tuple(split_top(text[2:-2])))
    if text[:1] in "([" and text[-1:] in ")]" and _encloses(text) and len(inner := split_top(text[1:-1])) > 1:
        return _Shape("bracket", tuple(inner), text[0] + text[-1])
    if _THOUSANDS.search(text):
        raise ValueError("a comma that may group digits or separate items")
    parts = split_top(_AND_OR.sub(", ", text))
    return _Shape("list", tuple(parts)) if len(parts) > 1 else _read_one(text)


def _read_one(text: str) -> _Shape:
    if _RELATION.search(text):
        return _Shape("relation", (text,))
    if "=" in text:
        return _Shape("equation", tuple(split_top(text, "=")))
    if text.count(r"\pm") == 1:
        return _Shape("set", (text.replace(r"\pm", "+"), text.replace(r"\pm", "-")))
    return _Shape("scalar", (text,))


def _encloses(text: str) -> bool:
    """Does the first bracket close with the last character?"""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return at == len(text) - 1
    return False


def _compare(given: _Shape, wanted: _Shape, same: Compare) -> bool | None:
    kinds = {given.kind, wanted.kind}
    result: bool | None = None
    if kinds == {"scalar"}:
        result = _same_scalar(given.items[0], wanted.items[0])
    elif kinds == {"bracket"}:
        result = _same_bracketed(given, wanted, same)
    elif kinds == {"matrix"} and given.marks.split()[1:] == wanted.marks.split()[1:]:
        result = _all(_pairs(given, wanted, same))
    elif kinds == {"list", "scalar"} and _digits(given) == _digits(wanted):
        result = None  # "1,5" may be 1.5, and "1,23" a slip for 123
    elif kinds <= {"list", "set", "scalar"}:
        result = _same_items(given, wanted, same)
    elif kinds <= {"equation", "scalar"}:
        result = _same_equation(given, wanted, same)
    elif kinds == {"relation"}:
        result = _verified(given.items[0], wanted.items[0]) or None
    return result


def _digits(shape: _Shape) -> str:
    return re.sub(r"[\s.]", "", "".join(shape.items))


def _pairs(given: _Shape, wanted: _Shape, same: Compare) -> list[bool | None]:
    return [same(one, other) for one, other in zip(given.items, wanted.items, strict=True)]


def _all(results: Sequence[bool | None]) -> bool | None:
    return False if False in results else None if None in results else True


def _same_bracketed(given: _Shape, wanted: _Shape, same: Compare) -> bool | None:
    """Points and intervals: in order; the brackets matter where they can only mean an interval."""
    if len(given.items) != len(wanted.items):
        return False
    result = _all(_pairs(given, wanted, same))
    if not result or given.marks == wanted.marks:
        return result
    interval = any(shape.marks in ("(]", "[)") or r"\infty" in "".join(shape.items) for shape in (given, wanted))
    return False if interval else None


def _same_items(given: _Shape, wanted: _Shape, same: Compare) -> bool | None:
    """Lists and sets: different if an item equals no item of the other side; the order is free only in braces."""
    if _out_of_order(given, wanted) or _out_of_order(wanted, given):
        return None
    if given.kind == wanted.kind and len(given.items) == len(wanted.items) and _all(_pairs(given, wanted, same)):
        return True
    table = [[same(one, other) for other in wanted.items] for one in given.items]
    lines = [*table, *(list(column) for column in zip(*table, strict=True))]
    if any(all(cell is False for cell in line) for line in lines):
        return False
    matched = all(True in line for line in lines) and len(given.items) == len(wanted.items)
    in_braces = "set" in (given.kind, wanted.kind) and "scalar" not in (given.kind, wanted.kind)
    return True if matched and in_braces else None


def _out_of_order(named: _Shape, bare: _Shape) -> bool:
    """Are names in another order, as in "y=3, x=4", to be compared with values that have no names?"""
    names = [item.partition("=")[0].strip() for item in named.items if "=" in item]
    return names != sorted(names) and not any("=" in item for item in bare.items)


def _same_equation(given: _Shape, wanted: _Shape, same: Compare) -> bool | None:
    result = same_equation("=".join(given.items), "=".join(wanted.items), same)
    if result is not None or not len(given.items) == len(wanted.items) == 2:
        return result
    one, other = ("({})-({})".format(*shape.items) for shape in (given, wanted))
    if _misreads(one, other):
        return None
    left, right = _parse(one), _parse(other)
    if left.free_symbols != right.free_symbols:
        return None
    return True if proportional(left, right) else None


def _same_scalar(given: str, wanted: str) -> bool | None:
    (given, unit), (wanted, other_unit) = _without_unit(given), _without_unit(wanted)
    if unit and other_unit and unit != other_unit:
        return None
    degrees = ("°" in given) + ("°" in wanted)
    if degrees and _TRIGONOMETRIC.search(given + wanted):
        return None
    given, wanted = given.replace("°", ""), wanted.replace("°", "")
    result = _same_formula(given, wanted)
    one_sided = bool(unit) != bool(other_unit) or degrees == 1
    return None if result is False and one_sided else result


def _without_unit(text: str) -> tuple[str, str]:
    found = _UNIT.fullmatch(text)
    if found is None or read_unit(found["unit"], marked=True) is None:
        return text, ""
    return found["rest"].strip(), plain(found["unit"]) + plain(found["power"] or "")


def _same_formula(given: str, wanted: str) -> bool | None:
    """Compare two formulas by value."""
    if _misreads(given, wanted):
        return None
    one, other = _parse(given), _parse(wanted)
    symbols = one.free_symbols | other.free_symbols
    readings = [(one, other)]
    if _IMAGINARY in symbols:
        as_i = {_IMAGINARY: sympy.I}
        readings.append((one.subs(as_i), other.subs(as_i)))
        if symbols == {_IMAGINARY}:
            readings = readings[1:]  # nothing else in it: i is the imaginary unit
    rounded = bool(_DECIMAL.search(given) or _DECIMAL.search(wanted))
    results = {agree(a, b, rounded=rounded) for a, b in readings}
    result = results.pop() if len(results) == 1 else None
    if result and symbols - {_IMAGINARY} and one.is_Add != other.is_Add:
        return None  # factored or expanded: which was asked for?
    return result


def _misreads(given: str, wanted: str) -> bool:
    """May the parser misread one of the two?"""
    if _MISREAD.search(given) or _MISREAD.search(wanted):
        return True
    bare, other = _COMMAND.sub(" ", given), _COMMAND.sub(" ", wanted)
    letters = set(re.findall(r"[A-Za-z]", bare + other)) | set(_COMMAND.findall(given + wanted))
    folds_case = len({letter.lower() for letter in letters}) < len(letters)
    return folds_case or _commute(bare, other) or bool(_UNBASED_LOG.search(given)) != bool(_UNBASED_LOG.search(wanted))


def _commute(given: str, wanted: str) -> bool:
    """Would the two be equal only if letters commuted? Matrices do not, and neither do the letters of a word."""
    capitals = set(re.findall(r"[A-Z]", given + wanted))
    runs = ["".join(_LETTERS.findall(text)) for text in (given, wanted)]
    return len(capitals) > 1 or (runs[0] != runs[1] and sorted(runs[0]) == sorted(runs[1]))


def _parse(text: str) -> Any:
    """Parse one formula, decimals exactly. Raises whatever the parser raises, or ``TypeError``."""
    exact = _DECIMAL.sub(lambda found: rf"\frac{{{found[1]}{found[2]}}}{{1{'0' * len(found[2])}}}", text)
    parsed = latex2sympy(normalize_latex(exact, _CONFIG), normalization_config=None)
    if not isinstance(parsed, sympy.Expr):
        raise TypeError("not a formula")
    return parsed


def _verified(given: str, wanted: str) -> bool:
    if _misreads(given, wanted) or _DECIMAL.search(given + wanted):
        return False
    one, other = (latex2sympy(normalize_latex(text, _CONFIG), normalization_config=None) for text in (given, wanted))
    return bool(verify(other, one, timeout_seconds=None))


def warm_up() -> None:
    """Build the parser's tables once, so that no call has to wait for that."""
    compare(r"\frac{x+1}{\sqrt{2}}", r"\frac{x}{\sqrt{3}}")
