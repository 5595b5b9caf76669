"""A question as tokens, and which of them are *signs*: those that have to be the same in two texts that mean the same.

Signs are numbers with the word behind each (a unit, mostly), words for numbers, mathematical symbols and brackets,
single letters (variables), commands of LaTeX, and words that turn a meaning round (not, least, odd …; of English and
Chinese). Where it is in doubt, a token is one.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from workers.decontaminate import CJK, stream_safe

_DELIMITERS = re.compile(r"\\[()\[\]]|\$")
"""Of formulas: two ways to write the same."""
_TOKEN = re.compile(
    rf"(?P<number>\d+(?:[.,]\d+)*)|(?P<word>[{CJK}]|[^\W\d_{CJK}]+(?:['’][^\W\d_{CJK}]+)*)|(?P<symbol>[^\w\s])"
)
_BRACKETS = frozenset("()[]{}")
_SYMBOLS = frozenset("^%°")
"""Mathematical ones that Unicode does not count among those."""
_PUNCTUATION = frozenset("!*/-~|")
"""Mathematical ones beside a number, a letter or a bracket."""
_PAUSES = frozenset(".,;:?")
_DECISIVE = frozenset(
    word
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
        "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million",
        "billion dozen half halves third thirds quarter quarters fourth fifth sixth seventh eighth ninth tenth",
        "once twice thrice double triple first second last",
        "not no never nor neither without except unless cannot isn't aren't doesn't don't didn't won't false incorrect",
        "more less fewer most least greater smaller larger bigger largest smallest greatest biggest highest lowest",
        "longest shortest maximum minimum maximize minimize max min above below over under before after earlier later",
        "older younger even odd positive negative increase increased increases decrease decreased decreases",
        "add added subtract subtracted sum difference product quotient inside outside left right up down",
        "north south east west sin cos tan sine cosine tangent log ln all any some every each only exactly or",
        "不 没 非 无 未 大 小 多 少 高 低 长 短 加 减 乘 除 左 右 上 下 前 后 正 负 奇 偶 最 半 倍",
        "零 一 二 两 三 四 五 六 七 八 九 十 百 千 万 亿",
    )
    for word in words.split()
)


class Token(NamedTuple):
    """One word, number or symbol; ``sign``: it has to be the same in a near-duplicate."""

    text: str
    sign: bool


def tokens(text: str) -> list[Token]:
    """A question's tokens in order, normalised, without punctuation; a text of nothing else is itself one token."""
    normal = unicodedata.normalize("NFKC", stream_safe(_DELIMITERS.sub(" ", text))).casefold()
    found = [(match[0], match.lastgroup or "") for match in _TOKEN.finditer(normal)]
    made: list[Token] = []
    counted = False  # a number stands before: the next word is its unit
    before = _NOTHING
    for here, after in pairwise([*found, _NOTHING]):
        token, kind = here
        if kind == "number":
            made.append(Token(token, True))
            counted = True
        elif kind == "word":
            command = before[0] == "\\"  # of LaTeX, as in 5\text{ km}
            made.append(Token(token, command or counted or _decides(token, before, after)))
            counted = counted and command
        elif _is_symbol(token, before, after):
            made.append(Token(token, True))
        else:
            counted = counted and token not in _PAUSES
            if unicodedata.category(token).startswith("M"):  # part of a word
                made.append(Token(token, False))
        before = here
    return made or [Token("".join(text.split()), True)]


_NOTHING = ("", "")
Found = tuple[str, str]
"""A token and its kind."""


def _is_symbol(text: str, before: Found, after: Found) -> bool:
    """Whether a character that is neither letter nor digit is mathematics, and not punctuation."""
    if text in _PUNCTUATION:
        return _is_operand(before) or (text != "!" and _is_operand(after))
    return text in _BRACKETS or text in _SYMBOLS or unicodedata.category(text) in {"Sm", "Sc", "So"}


def _is_operand(found: Found) -> bool:
    token, kind = found
    return kind == "number" or (kind == "word" and len(token) == 1) or token in _BRACKETS


def _decides(word: str, before: Found, after: Found) -> bool:
    """Whether a word is a variable, or in the list of those that turn a meaning round."""
    if word in _DECISIVE:
        return True
    if len(word) > 1 or unicodedata.category(word) == "Lo":  # in Chinese, a word has often one character
        return False
    return word not in {"a", "i"} or "symbol" in (before[1], after[1])


def signs_of(found: Iterable[Token], answer: str) -> int:
    """64 bits that two questions have in common if their signs and answers are the same."""
    plain = "".join(unicodedata.normalize("NFKC", stream_safe(answer)).casefold().split()).rstrip(".")
    return xxh3_64_intdigest(
        "\0".join([plain, *(token.text for token in found if token.sign)]).encode(errors="replace")
    )
