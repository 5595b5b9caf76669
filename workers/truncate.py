"""Cutting a reasoning text right after the correct answer is first derived (paper, section 3.4).

Three ways, each falling back on the next where its result would not be a prefix of the text that holds the answer:
``rewrite`` (the truncation model copies the text up to there) and ``anchor`` (it quotes the last sentence to keep, and
we cut behind that sentence) -> ``rule`` (the first sentence in which the rule finds the answer) -> ``whole``.

A quote counts if it makes up most of its sentence, and the sentence is not before the first that derives the answer: a
mention of the number, as in the question, does not derive it.

"Holds the answer" is ``first_sentence_with``: a text search for the answer by value or spelling. It is cheap and needs
no model. It does not find an answer that the text only puts in other words, and neither does the rule. On a text as
long as a book it takes a tenth of a second, so it runs in a thread.
"""

import asyncio
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from weak2wise.llm.model import Message, Model, Prompt
from workers.answers import bare_reference, first_sentence_with
from workers.answers.locate import sentences
from workers.fences import past_fence
from workers.prompts import Prompts
from workers.rules import RULES

Mode = Literal["rewrite", "anchor", "rule"]


class Cut(Struct, frozen=True):
    """A shortened text, stripped, and what shortened it; ``whole`` is the text as it was."""

    text: str
    by: Literal["rewrite", "anchor", "rule", "whole"]


@dataclass(frozen=True, kw_only=True)
class Truncate:
    """Cuts reasoning texts. Without a ``model`` the rule cuts, whatever the mode."""

    prompts: Prompts
    model: Model | None = None
    mode: Mode = "anchor"
    temperature: float = 0.1
    rules: int = RULES
    """The version of the rules by which it finds the answer."""
    counts: Counter[str] = field(default_factory=Counter)
    """Cuts so far by what made them; ``written``: tokens that the truncation model wrote; ``characters``: those in its
    replies; ``kept``: those in the cut texts, which a full copy would have."""

    async def __call__(self, normal: str, answer: str, *, seed: int) -> Cut:
        """Cut one reasoning text.

        Args:
            normal: the reasoning.
            answer: the reference answer.
            seed: makes the truncation model's sampling repeatable.

        Raises:
            RecordError: the truncation model cannot answer.
            RunStopped: no call to it can succeed.
        """
        wanted = bare_reference(answer, self.rules)
        if self.model is None or self.mode == "rule":
            cut = await asyncio.to_thread(_by_rule, normal, wanted, self.rules)
        else:
            ask = self.prompts.rewrite if self.mode == "rewrite" else self.prompts.anchor
            prompt = Prompt(messages=(Message("user", ask(normal, answer)),), temperature=self.temperature, seed=seed)
            completion = await self.model.complete(prompt)
            reply = completion.text.strip()
            cut = await asyncio.to_thread(_checked, self.mode, normal, reply, wanted, self.rules)
            self.counts["written"] += completion.usage.completion_tokens
            self.counts["characters"] += len(completion.text) + len(completion.reasoning or "")
            self.counts["kept"] += len(cut.text)
        self.counts[cut.by] += 1
        return cut


def cut_by_rule(normal: str, answer: str, rules: int = RULES) -> Cut:
    """Cut a reasoning text by the rule alone, as mode ``rule`` does; of a long text it takes a tenth of a second."""
    return _by_rule(normal, bare_reference(answer, rules), rules)


def _checked(mode: Literal["rewrite", "anchor"], normal: str, reply: str, answer: str, rules: int) -> Cut:
    """The cut that the model's reply makes, if it makes one; else the rule's."""
    if mode == "rewrite":
        end = _copied(normal, reply)
        if end is not None and first_sentence_with(reply, answer, rules) is not None:
            past = _end(normal, end, rules)
            return Cut(reply if past == end else normal[:past].strip(), mode)
        return _by_rule(normal, answer, rules)
    derived, end = first_sentence_with(normal, answer, rules), anchor_end(normal, reply)
    if derived is not None and end is not None and end >= derived:
        return Cut(normal[: _end(normal, end, rules)].strip(), mode)
    return _by_rule(normal, answer, rules)


def _by_rule(normal: str, answer: str, rules: int) -> Cut:
    end = first_sentence_with(normal, answer, rules)
    return Cut(normal.strip(), "whole") if end is None else Cut(normal[: _end(normal, end, rules)].strip(), "rule")


def _end(normal: str, end: int, rules: int) -> int:
    """Where to cut: a code fence is never left open."""
    return end if rules < 2 else past_fence(normal, end)


def _copied(normal: str, reply: str) -> int | None:
    """Where an exact copy of the text's beginning ends in the text: only white space may differ."""
    copied = "".join(reply.split())
    if not "".join(normal.split()).startswith(copied):
        return None
    left = len(copied)
    for word in _WORD.finditer(normal):
        if left <= len(word[0]):
            return word.start() + left
        left -= len(word[0])
    return 0


_WORD = re.compile(r"\S+")
_FENCE = re.compile(r"\A```[^\n]*\n(.*?)\n?```\Z", re.DOTALL)
_WRAPPING = "\"'“”‘’«»`*_ \t\n"
_MOST_OCCURRENCES = 300
_LIST_MARK = re.compile(r"\A\s*(?:[-•+]|\(?\d{1,2}[.)])\s+")
_MOST = 0.5


def anchor_end(text: str, quoted: str) -> int | None:
    """Where the sentence that a model quoted ends in the text: its first occurrence; ``None`` if it is not there.

    White space, Unicode variants (quotes, dashes, full-width forms, exponents), emphasis, dollar signs and capitals may
    differ. Of a reply of several lines that is not in the text as a whole, the last line counts. A quote of less than
    half a sentence does not count. If it breaks off, or has several sentences, its last sentence is kept to the end.
    """
    quoted = quoted.strip()
    if fenced := _FENCE.match(quoted):
        quoted = fenced[1].strip()
    last = quoted.rpartition("\n")[2].strip()
    candidates = dict.fromkeys(
        (quoted, quoted.strip(_WRAPPING), last, last.strip(_WRAPPING), _LIST_MARK.sub("", last).strip(_WRAPPING))
    )
    spans: list[tuple[int, int]] | None = None
    folded: tuple[str, list[int]] | None = None
    for candidate in candidates:
        spans = spans or list(sentences(text))
        for start, end in _exact(text, candidate):
            if (whole := _sentence_end(spans, start, end)) is not None:
                return whole
        folded = folded or _folded(text)
        for start, end in _tolerant(folded, candidate):
            if _is_whole(text, start, end) and (whole := _sentence_end(spans, start, end)) is not None:
                return whole
    return None


def _sentence_end(spans: list[tuple[int, int]], start: int, end: int) -> int | None:
    """The end of the sentence in which a quote ends, if the quote is most of it."""
    at = bisect_left(spans, end, key=lambda span: span[1])
    if at == len(spans):
        return None
    first, last = spans[at]
    return last if min(end, last) - max(start, first) > _MOST * (last - first) else None


def _exact(text: str, quoted: str) -> Iterator[tuple[int, int]]:
    """Where the quote occurs word for word and splits no word or number."""
    for at in _occurrences(text, quoted):
        if _is_whole(text, at, at + len(quoted)):
            yield at, at + len(quoted)


def _occurrences(text: str, wanted: str) -> Iterator[int]:
    """Where a text occurs in another; only the first few hundred places, as no sentence occurs that often."""
    at = -1
    for _ in range(_MOST_OCCURRENCES if wanted else 0):
        at = text.find(wanted, at + 1)
        if at < 0:
            return
        yield at


def _is_whole(text: str, start: int, end: int) -> bool:
    splits_first = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    splits_last = text[end - 1].isalnum() and re.match(r"\w|[.,]\d", text[end : end + 2]) is not None
    return not (splits_first or splits_last)


_FOLDED = str.maketrans(
    dict.fromkeys("“”„«»", '"') | dict.fromkeys("‘’‚`", "'") | dict.fromkeys("‐‑‒–—−", "-") | dict.fromkeys("*$^", "")
)
_PIECE = re.compile(r"\\[()\[\]]|.", re.DOTALL)


def _fold(piece: str) -> str:
    if len(piece) > 1:
        return ""  # an opener or closer of mathematics, as a dollar sign is
    folded = piece.translate(_FOLDED)
    if not folded.isascii():
        folded = unicodedata.normalize("NFKD", folded).translate(_FOLDED)
    return "".join(folded.casefold().split())


def _folded(text: str) -> tuple[str, list[int]]:
    """The text without white space and in one spelling, and where each of its characters came from."""
    pieces, origins = [], []
    for found in _PIECE.finditer(text):
        piece = _fold(found[0])
        pieces.append(piece)
        origins.extend([found.start()] * len(piece))
    return "".join(pieces), origins


def _tolerant(folded: tuple[str, list[int]], quoted: str) -> Iterator[tuple[int, int]]:
    haystack, origins = folded
    needle = "".join(_fold(found[0]) for found in _PIECE.finditer(quoted))
    for at in _occurrences(haystack, needle):
        yield origins[at], origins[at + len(needle) - 1] + 1
