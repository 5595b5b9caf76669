"""Removes secrets from texts of providers, in every form in which one may repeat them.

A secret is an environment variable's value. It is looked for in parts: what follows ``Bearer``, each value of a cookie,
user and password of basic authentication. Each part is looked for as it is and as it looks in a URL, in HTML, in JSON
(also in one inside the other), in base64 and in hex; always without regard to case.

A provider may repeat only the beginning or the end of a key. So what is searched is *anchors*, pieces of a few bytes;
where one is found, the match is extended in both directions as far as the text and the form agree. To search a text for
an anchor takes a fraction of a millisecond per megabyte, and linear time whatever the text is.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
ANSWER_SECRET = 16
"""Characters of the shortest secret that is looked for in answers. A shorter one could be a word of the answer."""
_ANSWER_ANCHOR = 12
"""Characters that identify a secret in an answer."""
_ANCHOR = 8
"""Characters that identify a part of a secret in a message. A shorter part has to stand alone, like a word."""
_MOST_PIECES = 8
"""Anchors inside a form, besides those at its beginning and end."""

_SCHEMES = frozenset({"apikey", "api-key", "basic", "bearer", "bot", "digest", "key", "negotiate", "token"})
_SEPARATORS = re.compile(r"[\s;,]+")
_UNSAFE = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "'": r"\u0027"})
_TEMPLATE = str.maketrans({"/": "&#x2F;", "=": "&#x3D;", "`": "&#x60;"})


def _json(text: str, *, ascii_only: bool = True) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


_ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: quote(text, safe=""),
    quote,
    quote_plus,
    html.escape,
    lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    lambda text: html.escape(text).translate(_TEMPLATE),
    _json,
    lambda text: _json(text, ascii_only=False),
    lambda text: _json(text).replace("/", r"\/"),
    lambda text: _json(text).translate(_UNSAFE),
)


class _Place(NamedTuple):
    """Where an anchor is in a form."""

    form: bytes
    offset: int


class Redactor:
    """A function that replaces the secrets in a text by ``[redacted]``.

    Args:
        anchors: each with the forms that it may be a part of, in lower case.
        words: removed only where they stand alone, in lower case.
    """

    def __init__(self, anchors: dict[bytes, list[_Place]], words: Iterable[bytes] = ()) -> None:
        self._anchors = anchors
        self._shortest = min(map(len, anchors), default=0)
        alternatives = b"|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        # Part of a path or of a longer name it is no secret: the key "test" must not change /data/test/in.jsonl.
        self._words = re.compile(rb"(?<![\w/.-])(?:%b)(?![\w/-])" % alternatives) if alternatives else None

    def __call__(self, text: str) -> str:
        """The text without secrets; the same object if it holds none."""
        if self._words is None and (not self._anchors or len(text) < self._shortest):
            return text
        raw = text.encode(errors="surrogatepass")
        lowered = raw.lower()  # bytes: only ASCII letters change, and no length does
        spans: list[tuple[int, int]] = []
        for anchor, places in self._anchors.items():
            if anchor in lowered:
                spans += _spans(lowered, anchor, places)
        if self._words:
            spans += [found.span() for found in self._words.finditer(lowered)]
        return _without(raw, spans) if spans else text


def message_redactor(secrets: Iterable[str]) -> Redactor:
    """For errors and logs: finds every part of these secrets, and pieces of eight characters from either end."""
    anchors: dict[bytes, list[_Place]] = {}
    words: set[bytes] = set()
    for part in _parts(secrets):
        if len(part) < _ANCHOR:
            words |= {form.encode().lower() for form in _escaped(part)}
            continue
        for form in _forms(part):
            last = len(form) - _ANCHOR
            step = max(_ANCHOR, len(form) // _MOST_PIECES)
            for offset in {*range(0, last + 1, step), last}:
                _add(anchors, form, offset, _ANCHOR)
    return Redactor(anchors, words)


def answer_redactor(secrets: Iterable[str]) -> Redactor:
    """For answers: finds parts of at least 16 characters, whole or by their first 12."""
    anchors: dict[bytes, list[_Place]] = {}
    for part in _parts(secrets):
        if len(part) >= ANSWER_SECRET:
            for form in _forms(part):
                _add(anchors, form, 0, _ANSWER_ANCHOR)
    return Redactor(anchors)


def short_secret(secret: str) -> bool:
    """Whether no part of it is long enough to be looked for in answers."""
    return all(len(part) < ANSWER_SECRET for part in _parts([secret]))


def _add(anchors: dict[bytes, list[_Place]], form: bytes, offset: int, size: int) -> None:
    place = _Place(form, offset)
    places = anchors.setdefault(form[offset : offset + size], [])
    if place not in places:
        places.append(place)


def _parts(secrets: Iterable[str]) -> set[str]:
    """The parts of the secrets that are secret themselves."""
    known = (secret.encode(errors="replace").decode().strip() for secret in secrets)
    return {part for secret in known for part in _parts_of(secret) if part}


def _parts_of(secret: str) -> Iterator[str]:
    pieces = [piece.strip("\"'") for piece in _SEPARATORS.split(secret)]
    for piece in pieces:
        if len(pieces) > 1 and piece.casefold() in _SCHEMES:
            continue
        pair = _decoded(piece)
        for whole in (piece, pair):
            yield whole
        for whole, separator in ((piece, "="), (pair, ":"), (piece, ":")):
            first, found, second = whole.partition(separator)
            if found:
                yield first
                yield second.strip("\"'")


def _decoded(piece: str) -> str:
    """User and password of basic authentication; empty if it is something else."""
    try:
        pair = base64.b64decode(piece, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return pair if ":" in pair and pair.isprintable() else ""


def _escaped(part: str) -> set[str]:
    """The part as it is, and escaped once or twice."""
    bare = {part, part.upper(), part.lower()}  # they differ in more than ASCII letters if there are others
    once = {escape(text) for text in bare for escape in _ESCAPES}
    return bare | once | {escape(text) for text in once - bare for escape in _ESCAPES}


def _forms(part: str) -> set[bytes]:
    """Every form in which the part is looked for, in lower case."""
    secret = part.encode()
    forms = {form.encode() for form in _escaped(part)} | {secret.hex().encode()}
    for before in range(3):  # base64 has three ways to write the same bytes, by what precedes them
        text = base64.b64encode(bytes(before) + secret)
        inner = text[(8 * before + 5) // 6 : 8 * (before + len(secret)) // 6]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {form.lower() for form in forms if len(form) >= _ANCHOR}


def _spans(text: bytes, anchor: bytes, places: list[_Place]) -> Iterator[tuple[int, int]]:
    """Begin and end of each match."""
    at = text.find(anchor)
    while at >= 0:
        begin = min(at - _agree_before(text, at, place) for place in places)
        end = max(at + _agree_from(text, at, place) for place in places)
        yield begin, end
        at = text.find(anchor, max(at, end - len(anchor)) + 1)


def _agree_from(text: bytes, at: int, place: _Place) -> int:
    """How many bytes from the anchor's begin on are the same in both."""
    here, there = text[at : at + len(place.form) - place.offset], place.form[place.offset :]
    return next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), len(here))


def _agree_before(text: bytes, at: int, place: _Place) -> int:
    """How many bytes before the anchor are the same in both."""
    here, there = text[max(0, at - place.offset) : at][::-1], place.form[: place.offset][::-1]
    return next((i for i, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), len(here))


def _without(raw: bytes, spans: list[tuple[int, int]]) -> str:
    kept, position = [], -1
    for begin, end in sorted(spans):
        if begin > position:
            kept += [raw[max(0, position) : begin], REDACTED.encode()]
        position = max(position, end)
    return b"".join([*kept, raw[position:]]).decode(errors="replace")
