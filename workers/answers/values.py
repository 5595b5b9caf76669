"""Formulas compared by value, at several points where they hold letters.

Rational values are compared exactly, others by their digits. Two formulas are equal if they agree at every point,
different if they disagree at every point; otherwise the result is not sure. A value that would take long to compute is
not computed.
"""

from fractions import Fraction
from math import factorial
from typing import Any

import sympy

_DIGITS = 50
"""Digits that show a difference."""
_ALL_DIGITS = 2000
"""Digits that show that there is no difference: beyond what 2^-2024 adds to a number."""
_EQUAL = sympy.Rational(1, 10 ** (_ALL_DIGITS - 50))
_DIFFERENT = sympy.Rational(1, 10**12)
_ROUNDED = sympy.Rational(1, 100)
_SMALLEST = sympy.Rational(1, 10**40)
_LARGEST = 10**1000
"""Below ``_SMALLEST`` a value may be an unrecognised zero; above ``_LARGEST`` its digits say too little."""
_MOST_BITS = 1 << 17
"""The largest number that is computed exactly, so that none takes long."""
_POINTS = (
    ("17/11", "29/13", "37/17", "43/19", "53/23"),
    ("5/31", "7/37", "71/29", "3/41", "61/43"),
    ("-13/7", "-19/23", "31/47", "-2/53", "-59/61"),
    ("7", "4", "9", "5", "11"),
)
"""Where letters get values: above and below one, negative, and whole numbers for formulas that count."""


def agree(one: Any, other: Any, *, rounded: bool) -> bool | None:
    """Are two formulas equal? ``rounded``: one of them is written with decimals and may be the other one rounded."""
    if one.free_symbols != other.free_symbols:
        return None
    results = {_agree_at(one, other, point, rounded=rounded) for point in _points(one)}
    return results.pop() if len(results) == 1 else None


def proportional(one: Any, other: Any) -> bool:
    """Is one formula a constant multiple of the other, neither being zero?"""
    if not one.free_symbols:
        return False
    ratios = [_value(one, point, _ALL_DIGITS) / _value(other, point, _ALL_DIGITS) for point in _points(one)]
    return bool(ratios[0].is_finite) and all(abs(ratio - ratios[0]) <= _EQUAL * abs(ratio) for ratio in ratios)


def _agree_at(one: Any, other: Any, point: dict[Any, Any], *, rounded: bool) -> bool | None:
    a, b = (_value(formula, point, _DIGITS) for formula in (one, other))
    distance, size = abs(a - b), max(abs(a), abs(b))
    if a.is_Rational and b.is_Rational and (distance == 0 or not rounded):
        return bool(distance == 0)
    if size < _SMALLEST:
        return None
    if distance > (_ROUNDED * max(1, size) if rounded else _DIFFERENT * size):
        return False
    if size > _LARGEST:
        return None
    a, b = (_value(formula, point, _ALL_DIGITS) for formula in (one, other))
    return True if abs(a - b) < _EQUAL * size else None


def _points(formula: Any) -> list[dict[Any, Any]]:
    """Values for the letters of a formula, the same for every formula with these letters."""
    symbols = sorted(formula.free_symbols, key=str)
    if not symbols:
        return [{}]
    if len(symbols) > len(_POINTS[0]):
        raise ValueError("too many letters")
    return [dict(zip(symbols, map(sympy.Rational, values), strict=False)) for values in _POINTS]


def _exact(formula: Any, point: dict[Any, Any]) -> Fraction | None:
    """The rational value of a formula; ``None`` if it has none that arithmetic finds.

    Raises:
        ValueError: it is too large.
    """
    if formula.is_Symbol:
        formula = point[formula]
    if formula.is_Rational:
        return Fraction(int(formula.p), int(formula.q))
    if not (formula.is_Add or formula.is_Mul or formula.is_Pow or formula.func is sympy.factorial):
        return None
    parts: list[Fraction] = []
    for part in formula.args:
        value = _exact(part, point)
        if value is None:
            return None
        parts.append(value)
    if formula.is_Pow:
        return _power(*parts)
    if formula.func is sympy.factorial:
        return _factorial(*parts)
    value = parts[0]
    for part in parts[1:]:
        value = _limited(value * part if formula.is_Mul else value + part)
    return value


def _power(base: Fraction, power: Fraction) -> Fraction | None:
    if power.denominator != 1:
        return None
    if abs(power) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _MOST_BITS:
        raise ValueError("too large")
    return Fraction(base ** int(power))


def _factorial(of: Fraction) -> Fraction | None:
    if of.denominator != 1 or of < 0:
        return None
    return _limited(Fraction(factorial(min(int(of), _MOST_BITS // 10))))


def _limited(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise ValueError("too large")
    return value


def _value(formula: Any, point: dict[Any, Any], digits: int) -> Any:
    exact = _exact(formula, point)
    if exact is not None:
        return sympy.Rational(exact.numerator, exact.denominator)
    value = sympy.N(formula.subs(point), digits, maxn=2 * digits)
    if not value.is_number or not value.is_finite:
        raise ValueError("no finite value")
    return value
