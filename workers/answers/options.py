r"""Where a text chooses one of its options: "So the answer is (B).", and not "The options are (A) 4, (B) 5".

A sentence that only lists options does not even mention the answer. One that looks at a single option mentions it.
"""

import re
from collections.abc import Callable, Iterator

_REFERENCE = re.compile(r"\(?([A-Ja-j])\)?[.:]?|(?:\(([A-J])\)|([A-J])[).:])\s+\S.*", re.DOTALL)
_DRESS = re.compile(r"(?:[\s*_$\\{}\[\]]|\b(?:text|textbf|mathrm|mathbf)(?=\s?\{))+")
_BARE = r"\(? ?LETTER(?![A-Za-z'’])"
_ENCLOSED = r"\( ?LETTER ?\)"
_NAMED = r"(?:the )?(?:option|choice|letter|answer) " + _BARE
_IS = r"(?:is|(?:must|should|would|will|has to) be)"
_RIGHT = r"(?:(?:the|clearly|therefore|thus|indeed) )?(?:correct|right|true|answer|best)\b"
_STATED = "|".join(
    (
        rf"\banswer\b(?: choice| option)? ?(?:{_IS}\b)? ?[:=]? ?(?:{_NAMED}|{_BARE})",
        rf"\b(?:option|choice) {_IS}\b:? ?{_BARE}",
        rf"\b(?:boxed|fbox) {_BARE}",
        rf"\b(?:choose|chose|pick|select|mark|go with)\b:? ?(?:{_NAMED}|{_BARE})",
        rf"(?:{_ENCLOSED}|\b(?:option|choice) {_BARE})\)?\.? {_IS} {_RIGHT}",
    )
)
_CONCLUDED = (
    rf"(?:\b(?:{_IS}|it's|that's|matches|match|to|rightarrow|conclude|so|thus|hence|therefore|gives)\b|[=:→⇒])[,:]? ?"
    rf"(?:{_ENCLOSED}|{_NAMED})\)? ?(?:[.!,;]|\Z)"
)
_MENTIONED = rf"{_ENCLOSED}|\b(?:option|choice) {_BARE}"
_LETTERS = re.compile(r"\(\s?([A-J])\s?\)|(?:^|[\s,;])([A-J])[).](?=\s)|\b[Oo]ption\s+([A-J])\b")
_LISTED = re.compile(r"(?:\([A-J]\)|[A-J][).:])(?= )")
_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|if|whether|either|neither|maybe|perhaps|might|could)\b|n't\b)[^,.;]{0,24}\Z",
    re.IGNORECASE,
)
_HEDGED = re.compile(r"[ )]{0,3}(?:or\b|,? ?(?:(?:is|was) )?(?:not|wrong|incorrect|false)\b|fails\b)", re.IGNORECASE)
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
        re.compile(pattern.replace("LETTER", f"(?-i:{letter})"), re.IGNORECASE)
        for pattern in (_STATED, _CONCLUDED, _MENTIONED)
    )

    def find(text: str, start: int, end: int) -> Iterator[bool]:
        sentence = _DRESS.sub(" ", text[start:end]).strip()
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
