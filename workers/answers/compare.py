r"""The quick comparison of two bare answers: spellings, plain numbers, choices, words, and "x = 5" against "5".

It takes microseconds, imports nothing heavy, and returns ``None`` where it is not certain.
"""

import re
from collections.abc import Callable
from functools import partial

from workers.answers.doubts import with_joined_digits
from workers.answers.number import read_number, same_number
from workers.answers.text import LONGEST, clean, plain, same_spelling, split_top, words
from workers.rules import RULES

Compare = Callable[[str, str], bool | None]

_CHOICE = re.compile(
    r"(?:(?i:option|choice|answer)\s*:?\s*)?"
    r"(?:\(\s*(?P<enclosed>[A-Ja-j])\s*\)[.:]?|(?P<marked>[A-J])[).:]|(?P<lone>[A-Ja-j])\Z)"
    r"(?:\s+(?P<text>\S.*))?"
)
_OPTION_TEXT = re.compile(r"(?:[\w\s.,'%$°{}]|(?<=[^\W\d])-|\\(?:sqrt|frac|pi)(?![A-Za-z])|\A-(?=[\d\\$]))*")
_NO_OPTION = re.compile(
    r"\b(?:[A-J]|[b-j])\b|"
    r"\b(?i:and|or|nor|not|no|wrong|incorrect|false|never|neither|none|but|except|unless|if|impossible|cannot)\b|n't\b"
)
"""In the text after an option's letter: another letter, or a word that may reject the option."""
_MATHEMATICAL = frozenset("ei")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]*")
_NAME = re.compile(
    r"\\?[A-Za-z]+(?:_\{?\w{1,10}\}?)?(?:'*\s*\(\s*[\w, .-]{1,20}\))?|\\(?:angle|measuredangle)\s*[A-Z]{1,3}"
)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
_SUM = re.compile(r"(?:[\d\s+\-*/().,^{}$]|\\(?:times|cdot|frac|div|sqrt)(?![A-Za-z]))+")
_RELATION = re.compile(r"[<>≠]|\\(?:not|neq?|leq?|geq?|lt|gt|approx|sim|equiv|in)(?![A-Za-z])")
_BASED = re.compile(r"([0-9A-F]{1,60})_\{?(\d{1,2})\}?")
_OPPOSITES = tuple(
    frozenset(group.split())
    for group in (
        "monday tuesday wednesday thursday friday saturday sunday",
        "january february march april may june july august september october november december",
        "north east south west",
        "odd even neither",
        "yes no",
        "true false",
        "positive negative",
        "increasing decreasing",
    )
)


def quick_compare(answer: str, reference: str, rules: int = RULES) -> bool | None:
    """Compare two bare answers without parsing mathematics."""
    if len(answer) > LONGEST or len(reference) > LONGEST:
        return None
    if _INTEGER.fullmatch(answer) and _INTEGER.fullmatch(reference):
        return answer == reference  # as below, without reading them: most answers and references are such
    given, wanted = clean(answer), clean(reference)
    one, other = read_number(given, rules), read_number(wanted, rules)
    result: bool | None
    if same_spelling(given, wanted):
        result = True if rules < 2 or _joined_alike(given, wanted) else None
    elif (letter := _CHOICE.fullmatch(words(wanted))) is not None:
        result = _same_choice(words(given), letter)
    elif one is not None and other is not None:
        result = None if _same_list(given, wanted) else same_number(one, other)
    elif "=" in given or "=" in wanted:
        result = same_equation(given, wanted, partial(quick_compare, rules=rules))
    elif "_" in given or "_" in wanted:
        result = _same_based(plain(given), plain(wanted))
    else:
        result = _same_words(words(given), words(wanted))
    return result


def is_choice(reference: str) -> bool:
    """Is this reference an option's letter, such as "(C)"? Then only letters can be compared with it."""
    return _CHOICE.fullmatch(words(reference)) is not None


def same_equation(given: str, wanted: str, compare: Compare) -> bool | None:
    """Compare where at least one side is an equation, by what follows a name: "x = 5", "3 + 4 = 7", "y = 2x".

    Args:
        given: the attempt's cleaned answer.
        wanted: the cleaned reference.
        compare: how to compare the values.
    """
    left, right = split_top(given, "="), split_top(wanted, "=")
    nested = len(left) == len(right) == 1  # the only equals signs stand inside brackets
    if nested or _RELATION.search(given) or _RELATION.search(wanted):
        return None
    if len(right) == 1:
        if len(left) == 2 and _NAME.fullmatch(left[1]) and not _NAME.fullmatch(left[0]):
            left.reverse()
        if all(_NAME.fullmatch(part) or _SUM.fullmatch(part) for part in left[:-1]):
            return compare(left[-1], wanted)
        return None
    if len(right) != 2 or not _NAME.fullmatch(right[0]):
        return None
    if len(left) == 1:
        return compare(given, right[1])
    return compare(left[-1], right[1]) if len(left) == 2 and plain(left[0]) == plain(right[0]) else None


def _joined_alike(given: str, wanted: str) -> bool:
    """Do the spaces in two lists of the same digits leave it open that they have the same items?"""
    one, other = with_joined_digits(given), with_joined_digits(wanted)
    return given in (one, wanted) or wanted == other or same_spelling(one, other)


def _same_list(given: str, wanted: str) -> bool:
    """Do "100,200" and "200,100" hold the same items, if they are lists and not numbers?"""
    one, other = given.split(","), wanted.split(",")
    return len(one) > 1 and one != other and sorted(one) == sorted(other)


def _same_choice(given: str, wanted: re.Match[str]) -> bool | None:
    """Compare with a reference that is a letter, alone or before its option's text.

    Case is ignored where one side is in brackets or the reference is a capital. Not for e and i: they are constants.
    """
    found = _CHOICE.fullmatch(given)
    if found is None or (found["text"] and wanted["text"]):
        return None
    text = found["text"] or wanted["text"] or ""
    if not _OPTION_TEXT.fullmatch(text) or _NO_OPTION.search(text):
        return None
    one, other = _letter(found), _letter(wanted)
    if one == other or one.casefold() != other.casefold():
        return one == other
    alike = found["enclosed"] or wanted["enclosed"] or other.isupper()
    return True if alike and other.casefold() not in _MATHEMATICAL else None


def _letter(found: re.Match[str]) -> str:
    return str(found["enclosed"] or found["marked"] or found["lone"])


def _same_based(given: str, wanted: str) -> bool | None:
    """Numbers that name their base: certain only in the same base, or where no reading makes them equal."""
    one, other = _BASED.fullmatch(given), _BASED.fullmatch(wanted)
    if one is not None and other is not None:
        return one[1].lstrip("0") == other[1].lstrip("0") if int(one[2]) == int(other[2]) else None
    based, bare = (one, wanted) if one is not None else (other, given)
    if based is None or not bare.isdecimal():
        return None
    try:
        value = int(based[1], int(based[2]))
    except ValueError:
        return None
    return None if bare.lstrip("0") in (based[1].lstrip("0"), str(value)) else False


def _same_words(given: str, wanted: str) -> bool | None:
    """Words are equal in any case; they are certainly different only if they exclude each other."""
    if not (_WORDS.fullmatch(given) and _WORDS.fullmatch(wanted)):
        return None
    one, other = given.casefold(), wanted.casefold()
    if one == other and (len(one) > 2 or one == "no"):
        return True
    return False if one != other and any({one, other} <= group for group in _OPPOSITES) else None
