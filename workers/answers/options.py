r"""Where a text chooses one of its options: "So the answer is (B)." and not "The options are (A) 4, (B) 5", a list of them.

A sentence that only lists options does not even mention the answer. One that looks at a single option mentions it.
"""

import re
from collections.abc import Callable, Iterator

_REFERENCE = re.compile(r"\(?([A-Ja-j])\)?[.:]?|(?:\(([A-J])\)|([A-J])[).:])\s+\S.*", re.DOTALL)
_DRESS = r"[\s*_$({\[\\]*(?:(?:text|textbf|mathrm|mathbf|boxed)\s?\{)?[\s(*]*"
_BARE = _DRESS + r"LETTER(?![A-Za-z'’])"
_ENCLOSED = r"[\s*_$\\]*(?:(?:text|textbf)\s?\{)?[\s*]*\(\s?LETTER\s?\)"
_NAMED = r"(?:the\s+)?(?:option|choice|letter|answer)\s+" + _BARE
_IS = r"(?:is|must\s+be|should\s+be|would\s+be|will\s+be|has\s+to\s+be)"
_STATED = (
    rf"\banswer\b(?:\s+(?:choice|option))?\s*(?:{_IS}\b)?[\s:=*]*(?:{_NAMED}|{_BARE})",
    rf"\b(?:option|choice)\s+{_IS}\b[\s:*]*{_BARE}",
    r"\\(?:boxed|fbox)\s?\{" + _BARE,
    rf"\b(?:choose|chose|pick|select|mark|go\s+with)\b[\s:*]*(?:{_NAMED}|{_BARE})",
    rf"(?:{_ENCLOSED}|\b(?:option|choice)\s+{_BARE})[\s)}}\]*.$]*\s{_IS}\s+(?:(?:the|clearly|therefore|thus|indeed)\s+)?"
    r"(?:correct|right|true|answer|best)\b",
)
_CONCLUDED = (
    rf"(?:\b(?:{_IS}|it's|that's|matches|match|to|conclude|so|thus|hence|therefore|gives)\b|[=:→⇒]|\\(?:to|[Rr]ightarrow)\b)[\s,:*]*"
    rf"(?:{_ENCLOSED}|{_NAMED})[\s)}}\]*$]*(?:[.!,;]|\Z)",
)
_MENTIONED = rf"{_ENCLOSED}|\b(?:option|choice)\s+{_BARE}"
_LETTERS = re.compile(r"\(\s?([A-J])\s?\)|(?:^|[\s,;])([A-J])[).](?=\s)|\b[Oo]ption\s+([A-J])\b")
_LISTED = re.compile(r"\s*[*_]*(?:\([A-J]\)|[A-J][).:])[*_]*(?=\s)")
_DENIED = re.compile(r"\b(?:not|never|cannot|if|whether|either|neither|maybe|perhaps|might|could)\b[^,.;]*\Z|n't\b[^,.;]*\Z", re.IGNORECASE)
_HEDGED = re.compile(r"[\s)}\]*$]*(?:or\b|,?\s*(?:(?:is|was)\s+)?(?:not|wrong|incorrect|false)\b|fails\b)", re.IGNORECASE)
_LOOK_BACK = 24


def option_finder(reference: str) -> Callable[[str, int, int], Iterator[bool]] | None:
    """What finds an option in ``text[start:end]``; ``None`` if the reference is no option, alone or with its text.

    It gives one item per place: true where the sentence chooses the option, false where it mentions it alone.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return None
    letter = (found[1] or found[2] or found[3]).upper()
    stated, concluded, mentioned = (
        re.compile("|".join(patterns).replace("LETTER", f"(?-i:{letter})"), re.IGNORECASE)
        for patterns in (_STATED, _CONCLUDED, (_MENTIONED,))
    )

    def find(text: str, start: int, end: int) -> Iterator[bool]:
        sentence = text[start:end]
        asked = sentence.rstrip().endswith("?")
        others = {next(filter(None, one.groups())) for one in _LETTERS.finditer(sentence)} - {letter}
        listed = _LISTED.match(sentence) is not None
        for pattern in (stated, *(() if others else (concluded,))):
            for place in () if asked else pattern.finditer(sentence):
                before = sentence[max(0, place.start() - _LOOK_BACK) : place.start()]
                if not (_DENIED.search(before) or _HEDGED.match(sentence, place.end())):
                    yield True
        if not (others or listed):
            for _ in mentioned.finditer(sentence):
                yield False

    return find
