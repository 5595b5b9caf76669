"""One run's questions: their source, the file to read, and how many of them the run processes."""

from collections.abc import AsyncIterator
from pathlib import Path

from weak2wise.config import Config, input_of
from weak2wise.dataset import at_hand, count_rows, is_hub, keep, naming_setting, read_rows
from weak2wise.dataset.given import Questions, keep_questions, kept_questions
from weak2wise.ledger.manifest import Resume
from weak2wise.ledger.outcomes import Failed
from workers.records import Asked, Question


class Input:
    """The questions of one run.

    Args:
        config: the run's.
        given: the questions themselves, in place of ``dataset.input_path``.
        limit: process only this many rows, from the first; ``None``: all.
    """

    def __init__(self, config: Config, given: Questions | None, limit: int | None) -> None:
        self._columns = config.dataset.columns
        self._work_dir = Path(config.dataset.work_dir)
        self._given = given
        self._limit = limit
        self.name = input_of(config) if given is None else kept_questions(self._work_dir)
        """The file, or the data set of a hub."""
        self.rows = 0
        """How many rows the last reading took."""

    @property
    def file(self) -> Path:
        """The file to read, if it exists yet: data sets of a hub are kept in the work_dir."""
        return at_hand(self.name, self._work_dir)

    def fetch(self, resume: Resume) -> None:
        """Make the file available: questions given as objects, or from a hub, are kept in the work_dir. Blocks.

        Raises:
            ConfigError: they cannot be fetched, or differ from the questions that the work_dir was begun with.
        """
        if self._given is not None:
            keep_questions(self._given, self._work_dir, resume)
        elif is_hub(self.name):
            with naming_setting("dataset.input_path"):
                keep(self.name, self._work_dir)

    def count(self) -> int:
        """How many rows the run processes. Blocks."""
        rows = count_rows(self.file)
        return rows if self._limit is None else min(rows, self._limit)

    async def questions(self) -> AsyncIterator[Asked | Failed]:
        """Read the rows from the first: questions, or the error of an invalid row."""
        self.rows = 0
        async for row in read_rows(self.file, self._columns):
            if self.rows == self._limit:
                return
            self.rows += 1
            if isinstance(row, Failed):
                yield row
            else:
                yield Asked(question=Question(row=row.number, id=row.id, text=row.question, answer=row.answer))
