"""Keeps questions of an evaluation set out of the training data: before step 1, so that they cost nothing.

A question is contaminated if it shares a run of 13 normalised words with one of an evaluation set; if either has fewer
words, only if all their words are the same. Case, punctuation, white space and Unicode variants do not count; a
Chinese, Japanese or Korean character is a word.
"""

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from weak2wise.worker import Drop, Partial, Worker
from workers.records import Asked, Unsolved

RUN = 13
"""Words; the length that the GPT-3 paper (appendix C) settled on."""

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(f"[{CJK}]|[^\\W_{CJK}]+")
_LONG = 20_000
"""Characters; a longer question is searched on a thread."""


_MARKS = re.compile(r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){31,}")
"""Where more than ``_MOST_MARKS`` marks may follow each other: no mark is a letter, but for two of Japanese."""
_MOST_MARKS = 30
_JOINER = "\u034f"


def words(text: str) -> list[str]:
    """The text's normalised words; a text without any is itself one word."""
    normal = unicodedata.normalize("NFKC", stream_safe(text)).casefold()
    return _WORD.findall(normal) or ["".join(normal.split())]


def stream_safe(text: str) -> str:
    """At most 30 marks in a row, as no language has more: normalising sorts them, in quadratic time (UAX #15, 13)."""
    return _MARKS.sub(_in_parts, text)


def _in_parts(run: re.Match[str]) -> str:
    safe, marks = [], 0
    for character in run[0]:
        is_mark = unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0
        if is_mark and marks == _MOST_MARKS:
            safe.append(_JOINER)
            marks = 0
        marks = marks + 1 if is_mark else 0
        safe.append(character)
    return "".join(safe)


class Overlap:
    """Evaluation sets' questions as hashes of their runs of words: eight bytes each, whatever the set's size.

    Args:
        sets: names and questions; the first set that holds a run is the one that is named.
    """

    def __init__(self, sets: Iterable[tuple[str, Iterable[str]]]) -> None:
        self.names: list[str] = []
        self._runs: dict[int, int] = {}
        content = hashlib.sha256()
        for number, (name, questions) in enumerate(sets):
            self.names.append(name)
            for question in questions:
                found = words(question)
                content.update(" ".join([*found, "\n"]).encode())
                for run in _runs(found):
                    self._runs.setdefault(run, number)
        self.digest = content.hexdigest()[:16]
        """Of all questions' words, in order."""

    def find(self, question: str) -> str | None:
        """The name of the set that the question is from, ``None`` if it is from none of them."""
        hit = next((self._runs[run] for run in _runs(words(question)) if run in self._runs), None)
        return None if hit is None else self.names[hit]


def _runs(found: Sequence[str]) -> Iterator[int]:
    """The hashes of a question's runs of words; a short question is one run, which only the same words make."""
    if len(found) < RUN:
        yield _hash(["", *found])
    for at in range(len(found) - RUN + 1):
        yield _hash(found[at : at + RUN])


def _hash(run: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(run).encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Decontaminate:
    """Drops questions of evaluation sets as ``contaminated/`` and the set's name; hands the others to ``then``."""

    overlap: Overlap
    then: Worker[Asked, Unsolved]

    async def __call__(self, asked: Asked) -> Unsolved | Partial[Unsolved] | Drop:
        """Drop the question, or return what the next worker makes of it."""
        text = asked.question.text
        long = len(text) > _LONG
        name = await asyncio.to_thread(self.overlap.find, text) if long else self.overlap.find(text)
        return await self.then(asked) if name is None else Drop(f"contaminated/{name}")
