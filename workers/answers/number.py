r"""Plain numbers in their many spellings, compared exactly.

Integers, decimals, fractions, mixed numbers, powers of ten, thousands separators, percentages, money, scale words
and simple units, in plain text or LaTeX. Values are ``Fraction``s; nothing is ever rounded. Where two numbers differ
by less than the last digit that one of them shows, one may be the other rounded, and the comparison is not sure.
"""

import re
from fractions import Fraction
from functools import lru_cache

from msgspec import Struct

from workers.answers.measures import Measure, read_measure, same_amount
from workers.answers.text import clean
from workers.answers.units import Unit, may_convert, read_unit
from workers.rules import RULES

LONGEST = 200
"""Characters of the longest number that is read."""
_MOST_DIGITS = 400
"""The largest power of ten that is written out."""

_DIGITS = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
_INT = r"\d+"
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s*+(?P<money>[$€£¥₹]?)\s*+(?P<sign2>[+-]?)\s*+
    (?:
        (?:(?P<whole>{_INT})\s*)?\\frac\s*(?:\{{\s*(?P<top>-?\s*{_DIGITS})\s*\}}|\s*(?P<top1>\d))
                             \s*(?:\{{\s*(?P<bottom>-?\s*{_DIGITS})\s*\}}|(?P<bottom1>\d))
      | (?:(?P<whole2>{_INT})\s+)?(?P<top2>{_DIGITS})\s*/\s*(?P<bottom2>{_DIGITS})
      | (?P<decimal>{_DIGITS})
        (?:[eE](?P<exp>[+-]?\d+)|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*(?:\{{\s*(?P<exp2>[+-]?\s*\d+)\s*\}}|(?P<exp3>[+-]?\d)))?
    )
    \s*+(?:(?P<scale>(?i:hundred|thousand|million|billion|trillion))\b)?""",
    re.VERBOSE,
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MARKED_SCALE = re.compile(r"\\text\{\s*((?i:hundred|thousand|million|billion|trillion))\b\s*")
_POWERS = {Fraction(10) ** power for power in range(-12, 13)}
_PERCENT = re.compile(r"(?:%|(?:\\text\{)?\s*+per\s?cent\s*+\}?)", re.IGNORECASE)
_MARKED = re.compile(r"\\text\{\s*(?P<unit>[^{}]+?)\s*\}(?P<power>\s*\^\s*\{?\s*[23]\s*\}?)?")
_MARKED_POWER = re.compile(r"\\text\{(?P<unit>[^{}]+)\}(?P<power>\s*\^\s*\{?\s*-?\s*\d\s*\}?)?")


class Number(Struct, frozen=True):
    """A number as read. ``value`` of "50%" is 50; ``step`` is what one more in its last digit is worth (0: exact).

    ``scale`` is the power of ten that a word such as "million" has put into the value.
    """

    value: Fraction
    step: Fraction
    integer: bool
    percent: bool = False
    unit: Measure | Unit | None = None
    scale: int = 0


@lru_cache(maxsize=1024)
def read_number(text: str, rules: int = RULES) -> Number | None:
    """Read a whole text as one number with at most a unit; ``None`` if it is anything else."""
    if len(text) > LONGEST * 2:
        return None
    text = _MARKED_SCALE.sub(r" \1 \\text{", clean(text)).replace(r"\text{}", "")
    found = _NUMBER.match(text) if len(text) <= LONGEST else None
    if found is None:
        return None
    number = _value(found)
    if number is None:
        return None
    value, step = number
    integer = step == 1 and value.denominator == 1
    rest = text[found.end() :].strip()
    if _PERCENT.fullmatch(rest) and not found["money"]:
        return Number(value, step, integer, percent=True)
    money = unit_read(found["money"], marked=True, rules=rules) if found["money"] else None
    named = _read_tail(rest, rules) if rest else None
    if (rest and named is None) or (money and named and not _same_unit(money, named)):
        return None
    return Number(value, step, integer, unit=money or named, scale=_scale(found))


def same_number(one: Number, other: Number) -> bool | None:
    """Are two numbers the same answer? ``None`` where rounding, a unit or a percentage leaves a doubt."""
    if one.percent != other.percent:
        return _with_percent(*((one, other) if one.percent else (other, one)))
    a, b = one.unit, other.unit
    if a is not None and b is not None and not _same_unit(a, b):
        return _in_two_units(one, a, other, b)
    same = _same_value(one, other)
    same_form = (a is None) == (b is None) and (a is not None or one.percent) and one.scale == other.scale
    if same is not False or same_form:
        return same
    if isinstance(unit := a or b, Measure):
        measured, bare = (one, other) if a else (other, one)
        may_be_same = unit.may_convert(measured.value, bare.value) or _may_be_scaled(one, other)
    else:
        may_be_same = one.value != 0 and other.value != 0 and _may_be_one_quantity(one, other)
    return None if may_be_same else False


def unit_read(text: str, *, marked: bool, rules: int) -> Measure | Unit | None:
    """What follows a number, read by the table of these rules."""
    return read_unit(text, marked=marked) if rules < 2 else read_measure(text, marked=marked)


def _same_unit(one: Measure | Unit, other: Measure | Unit) -> bool:
    return one.same(other) if isinstance(one, Measure) and isinstance(other, Measure) else one == other


def _in_two_units(one: Number, a: Measure | Unit, other: Number, b: Measure | Unit) -> bool | None:
    steps = one.step * a.factor, other.step * b.factor
    if isinstance(a, Measure) and isinstance(b, Measure):
        close = _close(a.in_base(one.value), b.in_base(other.value), *steps)
        return same_amount(one.value, a, other.value, b, close=close)
    if isinstance(a, Measure) or isinstance(b, Measure):
        return None
    if a.dimension is None or (a.dimension, a.power) != (b.dimension, b.power):
        return None
    return _close(one.value * a.factor, other.value * b.factor, *steps)


def _scale(found: re.Match[str]) -> int:
    return _SCALES[found["scale"].lower()] if found["scale"] else 0


def _may_be_one_quantity(one: Number, other: Number) -> bool:
    """May two different values be one quantity, with a unit, "million" or "per cent" left out?"""
    ratio, unit = one.value / other.value, one.unit or other.unit
    if _may_be_scaled(one, other):
        return True
    if isinstance(unit, Unit):
        return may_convert(unit, ratio)
    share = min(abs(one.value), abs(other.value))
    return ratio in (100, Fraction(1, 100)) and share < 1


def _may_be_scaled(one: Number, other: Number) -> bool:
    """May one of them have "million" left out?"""
    one_sided = (one.scale == 0) != (other.scale == 0)
    return one_sided and other.value != 0 and one.value / other.value in _POWERS


def _same_value(one: Number, other: Number) -> bool | None:
    if one.integer and other.integer:
        return one.value == other.value
    return _close(one.value, other.value, one.step, other.step)


def _close(a: Fraction, b: Fraction, step_a: Fraction, step_b: Fraction) -> bool | None:
    if a == b:
        return True
    return None if abs(a - b) < max(step_a, step_b) else False


def _with_percent(percent: Number, other: Number) -> bool | None:
    """Compare "50%" with a number that has no percent sign: 0.5 is equal, and so is 50 if it is above 1."""
    if percent.value / 100 == other.value:
        return True if other.unit is None else None
    if percent.value == other.value:
        return True if abs(other.value) > 1 and other.unit is None else None
    as_share = _close(percent.value / 100, other.value, percent.step / 100, other.step)
    return False if as_share is False and _same_value(percent, other) is False else None


def _value(found: re.Match[str]) -> tuple[Fraction, Fraction] | None:
    """The number's value and step, or ``None`` if it cannot be one (1/0, 10^999999, 3 7/2)."""
    if found["sign"] and found["sign2"]:
        return None
    sign = -1 if "-" in (found["sign"], found["sign2"]) else 1
    top = found["top"] or found["top1"] or found["top2"]
    if top is not None:
        above, below = _digits(top), _digits(found["bottom"] or found["bottom1"] or found["bottom2"])
        whole = found["whole"] or found["whole2"]
        if below == 0 or found["scale"]:
            return None
        value = above / below
        if whole is not None:
            if not 0 < value < 1:
                return None
            value += int(whole)
        return sign * value, Fraction(0)
    decimal = found["decimal"]
    power = int((found["exp"] or found["exp2"] or found["exp3"] or "0").replace(" ", ""))
    power += _scale(found)
    if abs(power) > _MOST_DIGITS:
        return None
    places = len(decimal.partition(".")[2])
    ten = Fraction(10)
    return sign * _digits(decimal) * ten**power, ten ** (power - places)


def _digits(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _read_tail(rest: str, rules: int) -> Measure | Unit | None:
    marked = (_MARKED if rules < 2 else _MARKED_POWER).fullmatch(rest)
    if marked is not None:
        return unit_read(marked["unit"] + (marked["power"] or ""), marked=True, rules=rules)
    return unit_read(rest, marked=rest[0] in "°$¢€£¥₹", rules=rules)
