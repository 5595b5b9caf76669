"""Finds questions that nearly repeat an earlier one of the input, so that nothing is paid for them.

Two questions are near-duplicates if all of this holds:

* Their signs are the same, in the same order (``workers.signs``): numbers, units, symbols, variables, opposites. Many a
  data set has the same text with other numbers, and these are other questions.
* Their reference answers are the same, but for case, white space and a full stop.
* The share of runs of three words that they have in common, of all runs in either (the Jaccard similarity), reaches
  ``dataset.dedup``. It is computed exactly, from the words alone, without case, punctuation and white space.

So two questions that differ are kept rather in doubt: what is dropped wrongly is lost, what is kept wrongly costs a few
calls. Of near-duplicates the first is kept; a later one is compared with those that are kept. So the result depends on
the input and its order alone.

How candidates are found: if two sets have a similarity of at least t, the beginnings of both, in any order that is the
same for all, have an element in common (prefix filtering; Chaudhuri et al. 2006, Bayardo et al. 2007). The order is
rare runs first. Only rows whose signs and answer occur twice are looked at.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from xxhash import xxh32_intdigest

from weak2wise.worker import Drop, Partial, Worker
from workers.records import Asked, Unsolved
from workers.signs import Token, signs_of, tokens

NEAR_DUPLICATE = "near_duplicate"
RUN = 3
"""Words."""

_SLOTS = 1 << 22
"""For counting how often runs occur; two that share a slot are taken for more frequent than they are."""


def runs_of(found: Sequence[Token]) -> set[int]:
    """The hashes of a question's runs of words; a shorter question is one run."""
    texts = [token.text for token in found]
    count = max(1, len(texts) - RUN + 1)
    return {xxh32_intdigest(" ".join(texts[at : at + RUN]).encode(errors="backslashreplace")) for at in range(count)}


class NearDuplicate(NamedTuple):
    """The earlier row that a question nearly repeats, and how similar they are, from 0 to 1."""

    like: int
    similarity: float

    def __str__(self) -> str:
        return f"nearly the same as row {self.like:,}, similarity {self.similarity:.2f}"


class NearDuplicates:
    """The rows of an input that nearly repeat an earlier one; 12 bytes each."""

    def __init__(self) -> None:
        self._rows = array("Q")
        self._like = array("Q")
        self._similarity = array("f")

    def add(self, row: int, found: NearDuplicate) -> None:
        """Note a row; rows come in order."""
        self._rows.append(row)
        self._like.append(found.like)
        self._similarity.append(found.similarity)

    def get(self, row: int) -> NearDuplicate | None:
        """What a row nearly repeats; ``None`` if it does not."""
        at = bisect_left(self._rows, row)
        if at == len(self._rows) or self._rows[at] != row:
            return None
        return NearDuplicate(self._like[at], self._similarity[at])

    def __len__(self) -> int:
        return len(self._rows)


Rows = Callable[[], Iterator[tuple[int, str, str]]]
"""Reads an input from its beginning: row, question and answer."""


def near_duplicates(rows: Rows, similarity: float) -> NearDuplicates:
    """The rows that nearly repeat an earlier one. Reads the input twice. Blocks.

    Args:
        rows: reads the input.
        similarity: the least similarity of near-duplicates, more than 0 and at most 1.
    """
    keys = array("Q", (signs_of(tokens(question), answer) for _, question, answer in rows()))
    twice = {one for one, next_one in pairwise(sorted(keys)) if one == next_one}
    alike, often = _Rows(), array("I", bytes(4 * _SLOTS))
    for key, (row, question, _) in zip(keys, rows(), strict=True):
        if key in twice:
            found = runs_of(tokens(question))
            alike.add(row, key, found)
            for run in found:
                often[run % _SLOTS] += 1
    return _among(alike, often, Fraction(str(similarity)))


class _Rows:
    """Rows that have signs and answer in common with another one: their hash is the row's group."""

    def __init__(self) -> None:
        self.numbers, self.groups = array("Q"), array("Q")
        self._runs, self._ends = array("I"), array("Q", [0])

    def add(self, number: int, group: int, runs: Iterable[int]) -> None:
        self.numbers.append(number)
        self.groups.append(group)
        self._runs.extend(runs)
        self._ends.append(len(self._runs))

    def runs(self, at: int) -> "array[int]":
        return self._runs[self._ends[at] : self._ends[at + 1]]


def _among(rows: _Rows, often: "array[int]", least: Fraction) -> NearDuplicates:
    """The near-duplicates among these rows; ``often``: how often each run occurs, by its slot."""
    found, index = NearDuplicates(), _Index(len(rows.numbers))
    over, under = least.as_integer_ratio()
    for at, (row, group) in enumerate(zip(rows.numbers, rows.groups, strict=True)):
        mine = set(rows.runs(at))
        ordered = sorted(mine, key=lambda run: (often[run % _SLOTS], run))
        in_common = -(-over * len(mine) // under)  # at least, rounded up
        beginning = [group ^ (run * _SPREAD) for run in ordered[: len(mine) - in_common + 1]]
        best: NearDuplicate | None = None
        for other in sorted(index.find(beginning)):
            if rows.groups[other] == group:
                theirs = rows.runs(other)
                common = len(mine.intersection(theirs))
                union = len(mine) + len(theirs) - common
                if common * under >= over * union and (best is None or common / union > best.similarity):
                    best = NearDuplicate(rows.numbers[other], common / union)
        if best:
            found.add(row, best)
        else:
            index.add(beginning, at)
    return found


_SPREAD = 0x9E3779B97F4A7C15


class _Index:
    """Rows by hashes, eight bytes for each pair: chains in two arrays. It may find rows that have another hash."""

    def __init__(self, rows: int) -> None:
        self._heads = array("I", bytes(4 << max(10, (8 * rows).bit_length())))
        self._owners, self._next = array("I", [0]), array("I", [0])

    def add(self, hashes: Iterable[int], row: int) -> None:
        for hashed in hashes:
            slot = self._slot(hashed)
            self._owners.append(row)
            self._next.append(self._heads[slot])
            self._heads[slot] = len(self._next) - 1

    def find(self, hashes: Iterable[int]) -> set[int]:
        """The rows that were added with one of these hashes, and some others."""
        found = set()
        for hashed in hashes:
            at = self._heads[self._slot(hashed)]
            while at:
                found.add(self._owners[at])
                at = self._next[at]
        return found

    def _slot(self, hashed: int) -> int:
        return ((hashed * _SPREAD & 0xFFFFFFFFFFFFFFFF) >> 32) % len(self._heads)


@dataclass(frozen=True)
class Dedup:
    """Drops questions that nearly repeat an earlier one; hands the others to ``then``."""

    duplicates: NearDuplicates
    then: Worker[Asked, Unsolved]

    async def __call__(self, asked: Asked) -> Unsolved | Partial[Unsolved] | Drop:
        """Drop the question, or return what the next worker makes of it."""
        found = self.duplicates.get(asked.row)
        return await self.then(asked) if found is None else Drop(NEAR_DUPLICATE, str(found))
