"""The rows of one part in a file: the driver alone reads the input, and every holder its parts' rows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from weak2wise.errors import ConfigError
from weak2wise.ledger.lines import HEAD, sealed, verify
from weak2wise.ledger.outcomes import Failed
from workers.records import Asked, Question

_AT_ONCE = 256
_QUESTION = msgspec.json.Decoder(Question)
_FAILED = msgspec.json.Decoder(Failed)


def line_of(row: Asked | Failed) -> bytes:
    """The line of a row: a question, or the error of an invalid row."""
    return sealed(msgspec.json.encode(row if isinstance(row, Failed) else row.question))


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
                number = row.row - self._first
                if number >= len(over) or not over[number]:
                    yield row

    def _lines(self) -> Iterator[Asked | Failed]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    verify(line)
                    if line[HEAD:].startswith(b'"status"'):
                        yield _FAILED.decode(line)
                    else:
                        yield Asked(question=_QUESTION.decode(line))
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(
                f"{self._path}: not as it was written ({error}); remove the file, and the run reads it from the input"
            ) from None
