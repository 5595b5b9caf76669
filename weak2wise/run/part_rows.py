"""The rows of one part in a file: the driver alone reads the input, and every holder its parts' rows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from weak2wise.access import refusal
from weak2wise.errors import ConfigError
from weak2wise.ledger.lines import HEAD, sealed, verify
from weak2wise.ledger.outcomes import Failed
from workers.dedup import NearDuplicate, NearDuplicates
from workers.records import Asked, Question

_AT_ONCE = 256


class _Row(Struct, frozen=True, omit_defaults=True):
    """A question, and the row that it nearly repeats, if it does."""

    row: int
    id: str | None
    text: str
    answer: str
    like: int = 0
    similarity: float = 0.0

    @property
    def question(self) -> Question:
        return Question(row=self.row, id=self.id, text=self.text, answer=self.answer)


_ROW = msgspec.json.Decoder(_Row)
_FAILED = msgspec.json.Decoder(Failed)


def line_of(row: Asked | Failed, duplicate: NearDuplicate | None) -> bytes:
    """The line of a row: a question with what it nearly repeats, or the error of an invalid row."""
    if isinstance(row, Failed):
        return sealed(msgspec.json.encode(row))
    found, like = row.question, duplicate or NearDuplicate(0, 0.0)
    return sealed(msgspec.json.encode(_Row(found.row, found.id, found.text, found.answer, like.like, like.similarity)))


class PartRows:
    """The rows of one part, from its file.

    Args:
        path: the file (``rows_file``).
        first: the number of its first row.
        rows: how many it holds.
    """

    def __init__(self, path: Path, first: int, rows: int) -> None:
        self._path = path
        self._first = first
        self._count = rows
        self.rows = rows

    def count(self) -> int:
        """How many rows there are."""
        return self._count

    async def questions(self, over: bytes = b"") -> AsyncIterator[Asked | Failed]:
        """Read the rows, without those for which ``over`` has a 1, by row from the first.

        Raises:
            ConfigError: the file cannot be read, or is damaged.
        """
        lines = self._lines()
        while read := await asyncio.to_thread(lambda: list(islice(lines, _AT_ONCE))):
            for row in read:
                at = row.row - self._first
                if at >= len(over) or not over[at]:
                    yield row if isinstance(row, Failed) else Asked(question=row.question)

    def duplicates(self) -> NearDuplicates:
        """The rows that nearly repeat an earlier one. Blocks; raises as ``questions``."""
        found = NearDuplicates()
        for row in self._lines():
            if isinstance(row, _Row) and row.like:
                found.add(row.row, NearDuplicate(row.like, row.similarity))
        return found

    def _lines(self) -> Iterator[_Row | Failed]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    verify(line)
                    if line[HEAD:].startswith(b'"status"'):
                        yield _FAILED.decode(line)
                    else:
                        yield _ROW.decode(line)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {refusal(self._path, error)}") from None
        except ValueError as error:
            raise ConfigError(
                f"{self._path}: not as it was written ({error}); remove the file, and the run reads it from the input"
            ) from None
