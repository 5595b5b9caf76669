"""Divides the input: reads it once, from the first row on, and writes the rows of each part into a file."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from pathlib import Path

from weak2wise.errors import ConfigError
from weak2wise.ledger.files import replacing
from weak2wise.ledger.outcomes import Failed
from weak2wise.ledger.parts import rows_file
from weak2wise.run.input import Input
from weak2wise.run.part_rows import line_of
from workers.dedup import NearDuplicates
from workers.records import Asked

_AT_ONCE = 256
"""Lines that are written at once."""


class PartWriter:
    """The input of one start, read no further than the parts that were asked for. To make it blocks.

    Args:
        input_: the input.
        parts: the rows of each part that this start may work on, by number, ascending.
        work_dir: the run's.
        settings: the number of its settings.
        duplicates: the rows that nearly repeat an earlier one, if they are looked for.
    """

    def __init__(
        self,
        input_: Input,
        parts: Mapping[int, range],
        work_dir: Path,
        *,
        settings: int = 0,
        duplicates: NearDuplicates | None = None,
    ) -> None:
        self._work_dir = work_dir
        self._settings = settings
        self._duplicates = duplicates or NearDuplicates()
        self._missing = [(part, rows) for part, rows in parts.items() if not self._file(part, rows).exists()]
        self._missing.reverse()
        self._rows: AsyncGenerator[Asked | Failed, None] | None = None
        self._input = input_
        self._one_at_a_time = asyncio.Lock()

    def _file(self, part: int, rows: range) -> Path:
        return rows_file(self._work_dir, part, len(rows), self._settings)

    async def reach(self, part: int) -> None:
        """Write the rows up to and including those of a part, unless that was done before.

        Raises:
            ConfigError: the input cannot be read, or has changed.
            OSError: the rows cannot be written.
        """
        async with self._one_at_a_time:
            while self._missing and self._missing[-1][0] <= part:
                await self._write(*self._missing[-1])
                self._missing.pop()

    async def _write(self, part: int, rows: range) -> None:
        if self._rows is None:
            begin = rows.start
            self._rows = self._input.read(lambda row: row >= begin)
        with ExitStack() as stack:
            file = await asyncio.to_thread(stack.enter_context, replacing(self._file(part, rows)))
            lines: list[bytes] = []
            number = 0
            async for row in self._rows:
                number = row.row
                if number in rows:
                    lines.append(line_of(row, self._duplicates.get(number)))
                if len(lines) >= _AT_ONCE:
                    await asyncio.to_thread(file.writelines, lines)
                    lines = []
                if number >= rows[-1]:
                    break
            if number < rows[-1]:
                raise ConfigError(f"{self._input.file}: has fewer rows than at the start of the run; put it back")
            await asyncio.to_thread(file.writelines, lines)
            await asyncio.to_thread(stack.close)

    async def close(self) -> None:
        """Read no further."""
        if self._rows is not None:
            await self._rows.aclose()
