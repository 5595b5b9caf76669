"""Units behind a number: which are the same, which convert into each other, and which are only a noun.

A unit never decides alone. It lets "5 cm" equal 5, and it makes it unsure whether 300 (minutes) is "5 hours".
"""

import re
from fractions import Fraction
from functools import cache

from msgspec import Struct

_MEASURES = """
length: millimeter millimetre mm 1/1000; centimeter centimetre cm 1/100; meter metre m 1; kilometer kilometre km 1000;
length: inch inches in 254/10000; foot feet ft 3048/10000; yard yd 9144/10000; mile mi 1609344/1000
time: second sec s 1; minute min 60; hour hr h 3600; day 86400; week 604800
calendar: month 1; year yr 12; decade 120; century centuries 1200
mass: milligram mg 1/1000; gram g 1; kilogram kg kilo 1000; tonne 1000000
weight: ounce oz 1; pound lb 16; ton 32000
volume: milliliter millilitre ml 1/1000; liter litre l 1
kitchen: teaspoon tsp 1; tablespoon tbsp 3; cup 48; pint 96; quart 192; gallon 768
money: cent ¢ 1/100; dollar $ usd buck 1
angle: degree ° deg 1
"""
_WORTH: dict[str, tuple[str, Fraction]] = {
    name: (dimension, Fraction(names[-1]))
    for line in _MEASURES.strip().splitlines()
    for dimension, _, entries in [line.partition(": ")]
    for entry in entries.rstrip(";").split("; ")
    for names in [entry.split()]
    for name in names[:-1]
}
LOOSE = {Fraction(ratio) for ratio in (4, 30, 52, 365, 1000, 2000)}
"""Ratios by which people also convert (weeks of a month, days of a year, tons); they are in no table."""
_NO_UNITS = """
and or to than over by minus plus less mod modulo pi sqrt root sin cos tan cot csc log ln exp factorial base power if is
was are were at from either neither nor approximately about roughly only but then because since remainder choose divided
multiplied inverse reciprocal infinity percent percentage squared cubed the as
not no never wrong incorrect isn except below under beneath above negative loss lost losing debt deficit owed owing
behind backward backwards down decrease decreased reduction fewer more short ago
am pm a p bc bce ad ce o january february march april may june july august september october november december
jan feb mar apr jun jul aug sep sept oct nov dec
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion quadrillion
lakh lac crore mil mill grand k bn mn tn score gross dozen couple pair double doubled triple tripled quadruple
quadrupled twice thrice fold twofold threefold fourfold tenfold
half halve halves quarter first third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth
seventieth eightieth ninetieth hundredth thousandth millionth billionth
"""
"""Words that change the number before them (or may), rather than name what was counted."""
NOT_UNITS = frozenset(_NO_UNITS.split())
_LARGE = re.compile(r"[MB]\b")
"""``M`` and ``B`` mean millions and billions as often as metres and bytes."""
_WORDS = re.compile(r"[A-Za-z¢$€£¥₹°]+")


@cache
def _ratios(dimension: str) -> frozenset[Fraction]:
    """What one unit of a dimension may be in another; worked out when first needed, as it takes milliseconds."""
    worths = [worth for of, worth in _WORTH.values() if of == dimension]
    return frozenset(a / b for a in worths for b in worths) | LOOSE


class Unit(Struct, frozen=True):
    """A unit as compared: its words in the singular, its power, and what it measures (``None``: a noun or compound)."""

    name: str
    power: int = 1
    dimension: str | None = None
    factor: Fraction = Fraction(1)
    convertible: bool = False


def read_unit(text: str, *, marked: bool) -> Unit | None:
    r"""Read what follows a number; ``None`` where it may be mathematics or change the number's meaning.

    Args:
        text: the words, such as ``cm^2``, ``square feet``, ``miles per hour`` or ``apples``.
        marked: they stood inside ``\\text{}``, so a single letter is a unit, not a variable.
    """
    text = text.strip().strip(".")
    found = re.fullmatch(r"([A-Za-z¢$€£¥₹°][A-Za-z¢$€£¥₹° ./]{0,60}?)\s*(?:\^\s*\{?\s*([23])\s*\}?)?", text)
    if found is None or _LARGE.match(text):
        return None
    written = _WORDS.findall(found[1])
    words = [_singular(word) for word in written]
    if not words or len(words) > 5 or not NOT_UNITS.isdisjoint((*words, *(word.lower() for word in written))):
        return None
    if not marked and (_variable(words) or any(len(word) < 3 for word in words if word not in _WORTH)):
        return None
    power = int(found[2] or 1)
    for prefix, raised in (("square", 2), ("sq", 2), ("cubic", 3), ("cu", 3)):
        if words[0] == prefix and len(words) > 1:
            words, power = words[1:], raised
    known = [word for word in words if word in _WORTH]
    if len(words) == 1 and known:
        dimension, factor = _WORTH[words[0]]
        return Unit(f"{dimension} {factor}", power, dimension, factor**power, convertible=True)
    return Unit(" ".join(words), power, convertible=bool(known))


def _variable(words: list[str]) -> bool:
    return len(words) == 1 and len(words[0]) == 1 and words[0].isalpha()


def may_convert(unit: Unit, ratio: Fraction) -> bool:
    """Could two numbers with this ratio be one quantity, one in this unit and one in a unit that is left out?"""
    if unit.dimension is None:
        return unit.convertible
    return any(ratio in (known**unit.power, 1 / known**unit.power) for known in _ratios(unit.dimension))


def _singular(word: str) -> str:
    word = word if word in ("¢", "$", "°") else word.lower()
    if word in _WORTH:
        return word
    for ending in ("es", "s"):
        if word.endswith(ending) and word[: -len(ending)] in _WORTH:
            return word[: -len(ending)]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
