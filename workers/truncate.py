"""Cutting a reasoning text right after the correct answer is first derived (paper, section 3.4).

Three ways, each falling back on the next where its result would not be a prefix of the text that holds the answer:
``rewrite`` (the truncation model copies the text up to there) and ``anchor`` (it quotes the last sentence to keep, and
we cut behind that sentence) -> ``rule`` (the first sentence in which the rule finds the answer) -> ``whole``.

"Holds the answer" is ``first_sentence_with``: a textual look for the answer by value or spelling. It is cheap and needs
no model; an answer that the text only puts in other words counts as not held, and the rule finds no more than it. On a
book-long text it takes a tenth of a second, so it runs in a thread.
"""

import asyncio
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from msgspec import Struct

from weak2wise.llm.model import Message, Model, Prompt
from workers.answers import first_sentence_with

Mode = Literal["rewrite", "anchor", "rule"]


class Cut(Struct, frozen=True):
    """A shortened text, stripped, and what shortened it; ``whole`` is the text as it was."""

    text: str
    by: Literal["rewrite", "anchor", "rule", "whole"]


class TruncatePrompts(Protocol):
    """What truncation needs of the run's prompts."""

    def rewrite(self, normal: str, answer: str) -> str:
        """Ask for the reasoning up to where the answer is first derived."""
        ...

    def anchor(self, normal: str, answer: str) -> str:
        """Ask for the last sentence to keep, word for word."""
        ...


@dataclass(frozen=True, kw_only=True)
class Truncate:
    """Cuts reasoning texts. Without a ``model`` the rule cuts, whatever the mode."""

    prompts: TruncatePrompts
    model: Model | None = None
    mode: Mode = "anchor"
    temperature: float = 0.1
    counts: Counter[str] = field(default_factory=Counter)
    """Cuts so far by what made them; ``written``: characters by the truncation model; ``kept``: those it might copy."""

    async def __call__(self, normal: str, answer: str, *, seed: int) -> Cut:
        """Cut one reasoning text.

        Args:
            normal: the reasoning.
            answer: the reference answer.
            seed: makes the truncation model's sampling repeatable.

        Raises:
            RecordError: the truncation model cannot answer.
            StopRun: no call to it can succeed.
        """
        if self.model is None or self.mode == "rule":
            cut = await asyncio.to_thread(_by_rule, normal, answer)
        else:
            ask = self.prompts.rewrite if self.mode == "rewrite" else self.prompts.anchor
            prompt = Prompt(messages=(Message("user", ask(normal, answer)),), temperature=self.temperature, seed=seed)
            reply = (await self.model.complete(prompt)).text.strip()
            cut = await asyncio.to_thread(_checked, self.mode, normal, reply, answer)
            self.counts["written"] += len(reply)
            self.counts["kept"] += len(cut.text)
        self.counts[cut.by] += 1
        return cut


def _checked(mode: Literal["rewrite", "anchor"], normal: str, reply: str, answer: str) -> Cut:
    """The cut that the model's reply makes, if it makes one; else the rule's."""
    text = _rewritten(normal, reply) if mode == "rewrite" else _anchored(normal, reply)
    if text is not None and first_sentence_with(text, answer) is not None:
        return Cut(text, mode)
    return _by_rule(normal, answer)


def _by_rule(normal: str, answer: str) -> Cut:
    end = first_sentence_with(normal, answer)
    return Cut(normal.strip(), "whole") if end is None else Cut(normal[:end].strip(), "rule")


def _rewritten(normal: str, reply: str) -> str | None:
    """The model's copy itself, if it is a true one: white space may differ, nothing else."""
    return reply if "".join(normal.split()).startswith("".join(reply.split())) else None


def _anchored(normal: str, reply: str) -> str | None:
    end = anchor_end(normal, reply)
    return None if end is None else normal[:end].strip()


_FENCE = re.compile(r"\A```[^\n]*\n(.*?)\n?```\Z", re.DOTALL)
_WRAPPING = "\"'“”‘’«»`*_ \t\n"
_MOST_OCCURRENCES = 300
_CLOSING = re.compile(r"[.!?。][\"'”’)\]*]*")


def anchor_end(text: str, quoted: str) -> int | None:
    """Where the sentence that a model quoted ends in the text: its first occurrence; ``None`` if it is not there.

    White space, Unicode variants (quotes, dashes, full-width forms) and emphasis may differ. Of a reply of several
    lines that is not in the text as a whole, the last line counts. A full stop left off the quote is kept in the text.
    """
    quoted = quoted.strip()
    if fenced := _FENCE.match(quoted):
        quoted = fenced[1].strip()
    candidates = dict.fromkeys(
        (
            quoted,
            quoted.strip(_WRAPPING),
            quoted.rpartition("\n")[2].strip(),
            quoted.rpartition("\n")[2].strip(_WRAPPING),
        )
    )
    folded: tuple[str, list[int]] | None = None
    for candidate in candidates:
        end = _whole_words(text, candidate)
        if end is None and candidate:
            folded = folded or _folded(text)
            end = _find_folded(text, folded, candidate)
        if end is not None:
            closing = _CLOSING.match(text, end)
            return closing.end() if closing is not None and text[end - 1] not in ".!?。" else end
    return None


def _whole_words(text: str, quoted: str) -> int | None:
    """The end of the first occurrence that splits no word or number."""
    for at in _occurrences(text, quoted):
        if _is_whole(text, at, at + len(quoted)):
            return at + len(quoted)
    return None


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
    dict.fromkeys("“”„«»", '"') | dict.fromkeys("‘’‚`", "'") | dict.fromkeys("‐‑‒–—−", "-") | {"*": ""}
)


def _fold(character: str) -> str:
    folded = character.translate(_FOLDED)
    if not folded.isascii():
        folded = unicodedata.normalize("NFKD", folded).translate(_FOLDED)
    return "".join(folded.split())


def _folded(text: str) -> tuple[str, list[int]]:
    """The text without white space and in one spelling, and where each of its characters came from."""
    pieces, origins = [], []
    for at, character in enumerate(text):
        piece = _fold(character)
        pieces.append(piece)
        origins.extend([at] * len(piece))
    return "".join(pieces), origins


def _find_folded(text: str, folded: tuple[str, list[int]], quoted: str) -> int | None:
    haystack, origins = folded
    needle = "".join(map(_fold, quoted))
    for at in _occurrences(haystack, needle):
        start, end = origins[at], origins[at + len(needle) - 1] + 1
        if _is_whole(text, start, end):
            return end
    return None
