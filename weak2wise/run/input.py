"""One run's questions: their source, the file to read, and how many of them the run processes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

from weak2wise.access import refusal
from weak2wise.config import Config, input_of
from weak2wise.dataset import at_hand, check_rows, count_rows, is_hub, keep, naming_setting, read_rows
from weak2wise.dataset.given import Questions, keep_questions, kept_questions
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import InputDigest, Resume, digest_input
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
        self._digest: InputDigest | None = None
        self._stamp: tuple[int, ...] | None = None

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

    def check_rows(self) -> None:
        """Check that there are rows, with the fields that are needed. Blocks; raises ``ConfigError``."""
        check_rows(self.file, self._columns)

    def note(self) -> None:
        """Note how the file looks now; call it before its digest is taken. Blocks; raises ``ConfigError``."""
        self._stamp = _stamp(self.file)

    def expect(self, digest: InputDigest) -> None:
        """From now on, ``questions`` and ``check`` raise an error where the file's content is another one."""
        self._digest = digest

    def check(self) -> None:
        """Check that the file's content is still what the run began with; read it only if the file looks changed.

        Blocks.

        Raises:
            ConfigError: it is not.
        """
        if self._digest is None or (stamp := _stamp(self.file)) == self._stamp:
            return
        found, grown = digest_input(self.file, known=self._digest)
        if found != self._digest:
            ways = "Put it back and start the run again"
            ways += ", or go on with the new lines at its end (--resume force)" if grown else ""
            raise ConfigError(
                f"{self.file}: has changed since the run started, which therefore stopped. No row was read from the "
                f"changed file, and all that had arrived is kept. {ways}"
            )
        self._stamp = stamp

    def count(self) -> int:
        """How many rows the run processes. Blocks."""
        rows = count_rows(self.file)
        return rows if self._limit is None else min(rows, self._limit)

    async def questions(self, over: bytes = b"") -> AsyncIterator[Asked | Failed]:
        """Read the rows from the first: questions, or the error of an invalid row.

        ``over``: 1 for each row, by row, that is counted but not wanted; it may be too short.

        Raises:
            ConfigError: it cannot be read, or its content has changed since ``expect``.
        """
        async for row in self.read(lambda row: row >= len(over) or not over[row]):
            yield row

    async def read(self, wanted: Callable[[int], bool]) -> AsyncGenerator[Asked | Failed, None]:
        """``questions``, of the rows for whose number ``wanted`` says yes."""
        self.rows = 0

        def counted(row: int) -> bool:
            self.rows += 1
            return (self._limit is not None and self.rows > self._limit) or wanted(row)

        async for row in read_rows(self.file, self._columns, self.check, counted):
            if self._limit is not None and self.rows > self._limit:
                self.rows = self._limit
                return
            if isinstance(row, Failed):
                yield row
            else:
                yield Asked(question=Question(row=row.number, id=row.id, text=row.question, answer=row.answer))


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file's content, and sometimes without. Blocks; raises ``ConfigError``."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)}") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
