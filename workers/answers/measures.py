r"""Units that know capitals, prefixes and dimensions: ``5 MeV`` is not ``5 meV``, and ``36 km/h`` is ``10 m/s``.

A table, as a general units library reads nouns as units ("cats" as centi-atmospheres) and takes a second to import. A
symbol counts as it is written; where its capitals are wrong (``Gpa``), it counts if no other unit has these letters.
What the table does not hold is a noun that says what was counted, or, if it looks like a symbol, an unknown unit.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from msgspec import Struct

from workers.answers.units import LOOSE, NOT_UNITS, Unit, read_unit

_SYMBOL_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3,
    "µ": -6, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip
_NAME_PREFIXES = {
    "peta": 15, "tera": 12, "giga": 9, "mega": 6, "kilo": 3, "hecto": 2, "deca": 1, "deci": -1, "centi": -2,
    "milli": -3, "micro": -6, "nano": -9, "pico": -12, "femto": -15,
}  # fmt: skip
_TABLE = """
m: *m *meter *metre 1; inch inches in 254/10000; ft foot feet 3048/10000; yd yard 9144/10000; mi mile 1609344/1000
m: *pc *parsec 30856775814913673; ly lightyear 9460730472580800; au AU 149597870700; Å angstrom 1/10000000000
m: furlong 201168/1000; fathom 18288/10000; nmi 1852; micron 1/1000000; rod 50292/10000; chain 201168/10000
kg: *g *gram 1/1000; tonne t 1000; oz ounce 45359237/1600000000; lb lbs pound 45359237/100000000; ton 45359237/50000
kg: *Da dalton amu 166053906660/100000000000000000000000000000000000000; stone 635029318/100000000
kg: kilo 1; ct carat 1/5000
s: *s *sec *second 1; min minute 60; h hr hour 3600; day 86400; week 604800; fortnight 1209600
A: *A *ampere *amp 1
K: *K *kelvin 1
mol: *mol *mole 1
cd: *cd *candela 1
month: month 1; yr year 12; decade 120; century centuries 1200; millennium millennia 12000
turn: ° deg degree 1/360; rev revolution 1
decibel: dB decibel 1
bit: *bit *b 1; *byte *B 8
bit s^-1: *bps 1; *Bps 8
s^-1: *Hz *hertz 1; rpm 1/60; bpm 1/60; *Bq *becquerel 1
m^2: acre 40468564224/10000000; ha hectare 10000
m^3: *l *L *liter *litre 1/1000; cc 1/1000000; gal gallon 3785411784/1000000000000; quart qt 946352946/1000000000000
m^3: pint 473176473/1000000000000; cup 2365882365/10000000000000
m^3: tsp teaspoon 492892159375/100000000000000000; tbsp tablespoon 1478676478125/100000000000000000
m s^-1: mph 44704/100000; kph 5/18; knot 1852/3600
kg m s^-2: *N *newton 1; *dyn *dyne 1/100000; lbf 44482216152605/10000000000000
kg m^-1 s^-2: *Pa *pascal 1; *bar 100000; atm atmosphere 101325; mmHg torr Torr 101325/760; psi 6894757/1000
kg m^2 s^-2: *J *joule 1; *eV *electronvolt 1602176634/10000000000000000000000000000; *cal *calorie 4184/1000
kg m^2 s^-2: *Wh 3600; *erg 1/10000000; BTU Btu 105505585262/100000000
kg m^2 s^-3: *W *watt 1; hp horsepower 7457/10
s A: *C *coulomb 1; Ah 3600; mAh 36/10
kg m^2 s^-3 A^-1: *V *volt 1
kg^-1 m^-2 s^4 A^2: *F *farad 1
kg m^2 s^-3 A^-2: *Ω *ohm 1
kg^-1 m^-2 s^3 A^2: *S *siemens 1
kg m^2 s^-2 A^-1: *Wb *weber 1
kg s^-2 A^-1: *T *tesla 1; gauss 1/10000
kg m^2 s^-2 A^-2: *H *henry 1
m^2 s^-2: *Gy *gray 1; *Sv *sievert 1
$: cent ¢ 1/100; dollar $ usd USD buck 1
€: € euro eur EUR 1; eurocent 1/100
£: £ gbp GBP 1; pence penny 1/100
₹: ₹ rupee INR 1; paise 1/100
¥: ¥ yen yuan rmb RMB 1; fen 1/100
"""
_TEMPERATURES = {
    "celsius": (Fraction(1), Fraction(27315, 100)),
    "fahrenheit": (Fraction(5, 9), Fraction(27315, 100) - 32 * Fraction(5, 9)),
    "kelvin": (Fraction(1), Fraction(0)),
}
_TEMPERATURE = re.compile(
    r"(?:°|degrees?|deg) ?(?:(?P<celsius>C|(?i:celsius|centigrade))|(?P<fahrenheit>F|(?i:fahrenheit))|(?P<kelvin>K))|"
    r"(?P<celsius2>(?i:celsius))|(?P<fahrenheit2>(?i:fahrenheit))|(?P<kelvin2>(?i:kelvins?))"
)
_SYMBOLS = frozenset(["mol", "bps", "Bps", "bar", "cal", "sec"])
"""Symbols of three letters; other names of three letters or more are words, and have prefixes that are words."""
_SIGNS = "µΩÅ°¢$€£¥₹"
_SPELLED = re.compile(rf"[A-Za-z{_SIGNS}0-9 ./*^{{}}()-]{{1,80}}")
_FACTOR = re.compile(rf" ?([A-Za-z{_SIGNS}]+)(?:(?: ?\^ ?)?\{{? ?(-? ?\d) ?\}}?)? ?\*? ?")
_PER = re.compile(r"/|\bper\b")
_RAISED = re.compile(r"\b(sq|cu)(?:uare|bic)?\.? ([A-Za-z]+)")
_LOOKALIKES = str.maketrans({"μ": "µ", "Ω": "Ω", "Å": "Å", "·": " ", "⋅": " "})
_MOST_FACTORS = 4
_NEAR = Fraction(1, 50)
"""How far a ratio may be from that of two units if one of the numbers is rounded: 5 miles are 8 km."""
_ALSO = Fraction(1, 4)
"""How far apart units of one name are: the tons, gallons and kilobytes of the world."""
_NOUN = re.compile(r"[A-Za-z]?[a-z]{2,}")
_UNMARKED = re.compile(r"[a-z]{3,}|[A-Z][a-z]{2,}|[a-z]{1,3}[A-Z]{1,3}[a-z]{0,3}|[A-Z][a-zA-Z]?[A-Z][a-z]{0,3}")
"""Units that no reader takes for a product of variables, as outside of text they might take ``nm`` or ``cd``."""
_UNMARKED_TOO = frozenset("mm cm km ft yd mi hr yr mg kg oz lb ml in Hz Pa sq cu".split())  # noqa: SIM905 - a table
_WORD = re.compile(rf"[A-Za-z{_SIGNS}]+")

Dimension = tuple[tuple[str, int], ...]
"""The base units that a unit is made of, with their powers, in alphabetical order."""


class Measure(Struct, frozen=True):
    """A unit of the table, or several multiplied: as it was written, of what dimension, and worth how much of it.

    ``offset`` is where a temperature scale has its zero; ``single``: one unit, at most with a power.
    """

    written: str
    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)
    single: bool = True

    def same(self, other: "Measure") -> bool:
        """Are these spellings of one unit?"""
        return (self.dimension, self.factor, self.offset) == (other.dimension, other.factor, other.offset)

    def in_base(self, value: Fraction) -> Fraction:
        """A value in this unit, in base units."""
        return value * self.factor + self.offset

    def may_convert(self, value: Fraction, bare: Fraction) -> bool:
        """May a value in this unit be the same quantity as a different number without one?"""
        if self.dimension == _HEAT:
            scales = [(self.in_base(value) - offset) / factor for factor, offset in _TEMPERATURES.values()]
            return any(abs(scale - bare) < 1 for scale in scales)
        if value == 0 or bare == 0:
            return False
        ratio = value / bare
        if not self.single or ratio in LOOSE or 1 / ratio in LOOSE:
            return True
        worth = self.factor * ratio
        return any(abs(worth - one) <= _NEAR * one for one in _worths(self.dimension) if one != self.factor)


def same_amount(one: Fraction, of: Measure, other: Fraction, unit: Measure, *, close: bool | None) -> bool | None:
    """Are two amounts in different units one quantity? ``close``: whether their values in base units are equal."""
    if of.dimension != unit.dimension or of.written.casefold() == unit.written.casefold():
        return None  # two things measured; or a slip of the shift key
    if close is not False:
        return close
    a, b = (one * of.factor, other * unit.factor)
    if of.dimension == _HEAT:
        return None if one == other or a == b else False  # differences of temperatures have no zero
    return None if abs(a - b) < _ALSO * max(abs(a), abs(b)) else False


_HEAT: Dimension = (("temperature", 1),)


def _vector(text: str) -> Dimension:
    powers = (part.partition("^") for part in text.split())
    return tuple(sorted((name, int(power or 1)) for name, _, power in powers))


def _entries() -> Iterator[tuple[str, Dimension, Fraction]]:
    """Every spelling in the table, its dimension, and its worth in base units."""
    for line in _TABLE.strip().splitlines():
        dimension, _, entries = line.partition(": ")
        for *names, worth in (entry.split() for entry in entries.split("; ")):
            for name in names:
                bare = name.lstrip("*")
                yield bare, _vector(dimension), Fraction(worth)
                prefixes = _SYMBOL_PREFIXES if len(bare) < 3 or bare in _SYMBOLS else _NAME_PREFIXES
                for prefix, power in prefixes.items() if name != bare else ():
                    yield prefix + bare, _vector(dimension), Fraction(worth) * Fraction(10) ** power


@cache
def _known() -> dict[str, tuple[Dimension, Fraction]]:
    """The table by spelling, the earlier of two entries; built when first needed, as it takes milliseconds."""
    known: dict[str, tuple[Dimension, Fraction]] = {}
    for name, dimension, worth in _entries():
        known.setdefault(name, (dimension, worth))
    return known


@cache
def _by_letters() -> dict[str, set[tuple[Dimension, Fraction]]]:
    """The units that have the same letters, capitals aside."""
    found: dict[str, set[tuple[Dimension, Fraction]]] = {}
    for name, unit in _known().items():
        found.setdefault(name.casefold(), set()).add(unit)
    return found


@cache
def _worths(dimension: Dimension) -> tuple[Fraction, ...]:
    """What units of a dimension are worth; square feet are no entry of the table, but a power of one."""
    units = set(_known().values())
    worths = {worth for of, worth in units if of == dimension}
    if len(dimension) == 1:
        base, power = dimension[0]
        worths |= {worth**power for of, worth in units if of == ((base, 1),)}
    return tuple(worths)


def _find(word: str) -> tuple[Dimension, Fraction] | None:
    endings = ("", "s", "es") if len(word) > 2 else ("",)
    singulars = [word[: len(word) - len(ending)] for ending in endings if word.endswith(ending)]
    for name in singulars:
        if name in _known():
            return _known()[name]
    for name in singulars if len(word) > 1 else ():
        if len(alike := _by_letters().get(name.casefold(), set())) == 1:
            return next(iter(alike))
    return None


def read_measure(text: str, *, marked: bool) -> Measure | Unit | None:
    r"""Read what follows a number; ``None`` where it may be mathematics or change the number's meaning.

    Args:
        text: the words, such as ``km/h``, ``kg m s^{-1}``, ``square feet``, ``°C`` or ``apples``.
        marked: they stood inside ``\\text{}``, so a letter or two are a unit, not variables.

    Returns:
        A measure, or a noun that says what was counted; one that looks like a symbol may be convertible.
    """
    text = " ".join(text.translate(_LOOKALIKES).split()).strip(". ")
    if _SPELLED.fullmatch(text) is None:
        return None
    if temperature := _TEMPERATURE.fullmatch(text):
        kind = str(temperature.lastgroup).rstrip("2")
        factor, offset = _TEMPERATURES[kind]
        return Measure(kind, _HEAT, factor, offset)
    if text.lower() in NOT_UNITS:
        return None
    found = None if text in ("C", "F") else _compound(text)
    if found is not None:
        return found if marked or "/" in text or all(map(_is_plain, _WORD.findall(text))) else None
    noun = read_unit(text, marked=marked)
    if noun is None or (noun.dimension is None and all(map(_is_noun, _WORD.findall(text)))):
        return noun
    return Unit(text, noun.power, convertible=True)


def _is_plain(name: str) -> bool:
    signed = not name.isascii() or "$" in name
    return signed or name in _UNMARKED_TOO or _UNMARKED.fullmatch(name) is not None


def _is_noun(word: str) -> bool:
    """Is this a word for things, and no symbol of an unknown unit?"""
    return _NOUN.fullmatch(word) is not None and word.casefold() not in _by_letters()


def _compound(text: str) -> Measure | None:
    """A product of known units; ``None`` if one of them is unknown."""
    powers: Counter[str] = Counter()
    worth, factors = Fraction(1), 0
    spelled = _RAISED.sub(lambda found: f"{found[2]}^{2 if found[1] == 'sq' else 3}", text)
    for at, part in enumerate(_PER.split(spelled)):
        rest = part.strip().removeprefix("(").removesuffix(")")
        while rest:
            factor = _FACTOR.match(rest)
            unit = _find(factor[1]) if factor else None
            if factor is None or unit is None or factors == _MOST_FACTORS:
                return None
            power = int((factor[2] or "1").replace(" ", "")) * (-1 if at else 1)
            worth *= unit[1] ** power
            powers.update({base: each * power for base, each in unit[0]})
            rest, factors = rest[factor.end() :], factors + 1
    if factors == 0:
        return None
    dimension = tuple(sorted((name, power) for name, power in powers.items() if power))
    return Measure(text, dimension, worth, single=factors == 1)
