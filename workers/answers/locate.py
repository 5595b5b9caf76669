r"""Where a text first derives the correct answer: sentence by sentence, by text patterns alone.

A sentence *derives* the answer if the answer is in the place of a result: after "=", "equals" or an arrow, in a box,
after "the answer is", or after "is", "gives", "get" and the like if other numbers come before it in the sentence
("16 minus 7 is 9"). The first such sentence counts. If no sentence derives the answer, the first one that mentions it
counts. A mention alone does not count as long as something better follows: "she eats 3" should not end the reasoning
for a question whose answer is 3.

Numbers match by value, as whole numbers of the text (14 is neither in 140 nor in 3.14), whatever unit follows; 50% is
0.5, and one to twelve may be words where they are derived. Other answers match by their compacted spelling, a few
numbers in brackets also where one sentence derives each of them. A sentence ends at a full stop, question or
exclamation mark before white space, or at the end of a line; not inside mathematics, a decimal number, an abbreviation
or a list number.
"""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from workers.answers.number import read_number
from workers.answers.options import option_finder
from workers.answers.text import LONGEST, clean, split_top
from workers.rules import RULES

_LONGEST_MATH = 3000
_LONGEST_SENTENCE = 10_000
"""Characters; anything longer is not a sentence, and is not searched."""
_OPENERS = re.compile(r"\$\$|\\\[|\\\(|\$(?=[^\s$])")
_CLOSERS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)", "$": "$"}
_END = re.compile(r"(?<![.!?。！？])[.!?。！？]++[\"'”’)\]*_]*+(?=\s|\Z)|[。！？]+[\"'”’)\]*_]*|\n")
"""A run of stops is read once, from its first: a text of nothing else must not take quadratic time."""
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|Dr|Mr|Mrs|Ms|St|No|Fig|Eq|ca)|(?:^|\n)[\s*#(]*(?:\d{1,3}|[A-Za-z]))\.\Z",
    re.IGNORECASE,
)

_GROUPS = r"\d{1,3}(?:(?:,|\{,\}|,?\\[!,])\s?\d{3})+(?!\d)|\d+"
_NUMERAL = rf"(?:(?:{_GROUPS})(?:\.\d+)?|\.\d+)"
_TOKEN = re.compile(
    rf"(?<![A-Za-z0-9_^.])(?<!\d,)(?<!\d:)(?<![_^]\{{)(?P<value>(?P<minus>(?<![\w)}}])[-−–])?\s?[$€£]?"
    rf"(?:\\[dt]?frac\s*\{{-?{_NUMERAL}\}}\s*\{{{_NUMERAL}\}}|\\[dt]?frac\s?\d\s?\d"
    rf"|\d+\s*\\[dt]?frac\{{\d+\}}\{{\d+\}}|(?:\d+\s+)?\d+/\d+|{_NUMERAL}(?:e[+-]?\d+)?))"
    r"(?![\d^_]|[.,:/]\d|\s*\\(?:d?frac|pi|sqrt|theta|alpha|beta|log|ln|sin|cos|tan)|(?:[A-Za-z]|st|nd|rd|th)(?![A-Za-z]))",
)
_RESULT = re.compile(
    r"(?:=|≈|→|⇒|\\(?:approx|implies|to|[Rr]ightarrow)|\bequals?|\\(?:boxed|fbox)\s*\{?|"
    r"\banswer(?:\s+(?:is|will be|must be|should be|to be)|:))[\s*$({\\]*(?:text\{)?"
    r"(?:about|exactly|just|simply)?\s*\Z",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"(?:\b(?:is|are|was|be|gives?|gets?|got|makes?|leaves?|leaving|totals?|total of|yields?|becomes?|that's|it's|"
    r"obtain|have|has|so)|:)[\s*$({]*(?:about|exactly|just|only|a total of)?\s*\Z",
    re.IGNORECASE,
)
_OPERATOR = re.compile(r"[\s$)}*]*(?:[-+×÷·/−](?!-)|\*(?!\*)|\\(?:times|cdot|div|pm)(?![A-Za-z]))\s*[\d($\\A-Za-z]")
_LOOK_BACK = 40
_PERCENT = re.compile(r"\s?(?:\\?%|per\s?cent\b)", re.IGNORECASE)
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_BRACKETS = re.compile(r"\((.*)\)|\\\{(.*)\\\}")
_MOST_ELEMENTS = 4


def first_sentence_with(text: str, reference: str, rules: int = RULES) -> int | None:
    """Where the first sentence that derives the answer ends, as an offset into ``text``; ``None`` if none holds it.

    Args:
        text: a reasoning text.
        reference: the correct answer.
        rules: the version of the rules.
    """
    mentioned = None
    finder = _finder(reference, rules)
    if finder is None:
        return None
    for start, end in sentences(text):
        if end - start > _LONGEST_SENTENCE:
            continue
        for derived in finder(text, start, end):
            if derived:
                return end
            mentioned = end if mentioned is None else mentioned
    return mentioned


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The spans of a text's sentences, without the white space between them."""
    start = 0
    for end in _ends(text):
        stripped = text[start:end]
        if stripped.strip():
            yield start + len(stripped) - len(stripped.lstrip()), start + len(stripped.rstrip())
        start = end


def _ends(text: str) -> Iterator[int]:
    at = 0
    end, opener = _END.search(text), _OPENERS.search(text)
    while end is not None:
        if opener is not None and opener.start() < end.start():
            at = _math_end(text, opener)
            opener = _OPENERS.search(text, at)
            if end.start() < at:  # search again only when passed: a text without sentence ends is then read once
                end = _END.search(text, at)
            continue
        at = end.end()
        last, end = end, _END.search(text, at)
        if last[0] == "\n" or not _ABBREVIATION.search(text, max(0, last.start() - 12), last.start() + 1):
            yield at
    yield len(text)


def _math_end(text: str, opener: re.Match[str]) -> int:
    """The end of the mathematics that opens here, or of its opener alone if it is a lone dollar sign."""
    mark = opener[0]
    limit = opener.end() + _LONGEST_MATH
    if mark == "$":
        line_end = text.find("\n", opener.end(), limit)
        limit = line_end if line_end >= 0 else limit
    close = text.find(_CLOSERS[mark], opener.end(), limit)
    if close < 0 or (mark == "$" and (text[close - 1].isspace() or text[close + 1 : close + 2].isdigit())):
        return opener.end()
    return close + len(mark)


_Finder = Callable[[str, int, int], Iterator[bool]]
"""Finds the answer in ``text[start:end]``: one item per occurrence, true where the sentence derives it."""


def _finder(reference: str, rules: int) -> _Finder | None:
    if len(reference) > LONGEST:
        return None
    bare = clean(reference)
    if rules >= 2 and (finder := option_finder(bare)):
        return finder
    number = read_number(bare)
    if number is None and len(sides := split_top(bare, "=")) == 2:
        number = read_number(sides[1])  # "x = 5" is found wherever 5 is
    if number is not None:
        return _number_finder(number.value, percent=number.percent)
    if letter := _LETTER.fullmatch(_compact(bare)):
        return _pattern_finder(re.compile(_CHOICE.format(letter[1].upper())))
    needle = _compact(bare)
    if not needle:
        return None
    return _collection_finder(_spelling_finder(needle), bare)


def _spelling_finder(needle: str) -> _Finder:
    before = r"(?<![\w.^√])" if needle[0].isalnum() else ""
    after = r"(?!\w|[.,]\d|\^)" if needle[-1].isalnum() else ""
    return _pattern_finder(re.compile(before + re.escape(needle) + after), _compact)


def _collection_finder(whole: _Finder, bare: str) -> _Finder:
    """The whole answer, or else a sentence that derives each of its numbers: "x = 1 and y = 2" for "(1, 2)"."""
    brackets = _BRACKETS.fullmatch(bare)
    numbers = [read_number(part) for part in split_top(brackets[1] or brackets[2] or "")] if brackets else []
    if not 2 <= len(numbers) <= _MOST_ELEMENTS or None in numbers:
        return whole
    elements = [_number_finder(number.value, percent=number.percent) for number in numbers if number]

    def find(text: str, start: int, end: int) -> Iterator[bool]:
        found = list(whole(text, start, end))
        yield from found
        if not found and all(any(element(text, start, end)) for element in elements):
            yield True

    return find


def _number_finder(wanted: Fraction, *, percent: bool) -> _Finder:
    """A number by its value; 50% is also 0.5, and "five" counts where it stands as a result."""
    values: dict[str, Fraction | None] = {}
    word = re.compile(rf"\b{_WORDS[int(wanted) - 1]}\b", re.IGNORECASE) if wanted in range(1, len(_WORDS) + 1) else None

    def equal(numeral: str, *, per_cent: bool) -> bool:
        if numeral not in values:
            number = read_number(numeral)
            values[numeral] = None if number is None else number.value
        value = values[numeral]
        if value is None or value == wanted:
            return value is not None
        return value == (wanted / 100 if percent else wanted * 100) if percent != per_cent else False

    def find(text: str, start: int, end: int) -> Iterator[bool]:
        others = 0
        for spelled in word.finditer(text, start, end) if word else ():
            if _RESULT.search(text[max(start, spelled.start() - _LOOK_BACK) : spelled.start()]):
                yield True
        for token in _TOKEN.finditer(text, start, end):
            if equal(token["value"], per_cent=bool(_PERCENT.match(text, token.end(), end))):
                before = text[max(start, token.start() - _LOOK_BACK) : token.start()]
                result = _RESULT.search(before) or (others and _COPULA.search(before))
                yield bool(result) and not _OPERATOR.match(text, token.end(), end)
            else:
                others += 1

    return find


def _pattern_finder(pattern: re.Pattern[str], spelling: Callable[[str], str] = str) -> _Finder:
    def find(text: str, start: int, end: int) -> Iterator[bool]:
        sentence = spelling(text[start:end])
        for found in pattern.finditer(sentence):
            yield bool(_RESULT.search(sentence[max(0, found.start() - _LOOK_BACK) : found.start()]))

    return find


_LETTER = re.compile(r"\(?([a-j])\)?")
_CHOICE = r"\(\s*{0}\s*\)|(?:(?i:option|choice|answer)(?:\s+is|:)?|=|boxed\{{(?:\\text\{{)?)[\s*(]*{0}(?![A-Za-z'])"
_FRACTION = re.compile(r"\\frac(?:\{([^{}]*)\}|\s?(\w))(?:\{([^{}]*)\}|\s?(\w))")
_ROOT = re.compile(r"(?:\\sqrt|√)\s*\{([^{}]*)\}")
_WORD = re.compile(r"\w+")


def _compact(text: str) -> str:
    r"""A spelling in which LaTeX and plain text meet: "\frac{\sqrt{3}}{2}" and "√3/2" are both "√3/2"."""
    text = clean(text).replace(r"\sqrt", "√").replace(r"\pi", "π").replace(r"\infty", "∞")
    text = re.sub(r"\\(?:text|times|cdot)(?![A-Za-z])|[*·$]|\\[()\[\]{}]", " ", text)
    for _ in range(3):  # nested ones from the inside out
        text = _ROOT.sub(lambda found: "√" + _group(found[1]), text)
        text = _FRACTION.sub(lambda f: f"{_group(f[1] or f[2] or '')}/{_group(f[3] or f[4] or '')}", text)
    text = re.sub(r"(?<!\w)\s+|\s+(?!\w)|\s+(?=π)|(?<=π)\s+", "", re.sub(r"[{}]", "", text))
    return text.casefold()


def _group(text: str) -> str:
    return text if re.fullmatch(r"-?[\w√π]+", text) else f"({text})"
