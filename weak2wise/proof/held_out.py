"""Are the held-out questions held out? Compares them with those of the training input."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from weak2wise.config import Columns, Dataset
from weak2wise.dataset import InputRow, at_hand, check_rows, is_hub, keep, naming_setting
from weak2wise.dataset.rows import parse_row
from weak2wise.dataset.sources import rows_of, unit
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Failed
from workers.decontaminate import Overlap, words
from workers.records import Asked, Question


@dataclass(frozen=True)
class Shared:
    """What held-out questions have in common with the training input, by row."""

    same: list[int]
    """Questions with the same words as one of the training input."""
    similar: list[int]
    """Others that share a run of words with one (``workers.decontaminate.RUN``)."""


@dataclass(frozen=True)
class HeldOut:
    """The held-out questions of one evaluation."""

    file: Path
    rows: Sequence[InputRow]
    """Those that are asked: readable, and not in the training input."""
    unreadable: Sequence[Failed]
    shared: Shared
    training: Path | None
    """The training input that they were compared with."""

    @classmethod
    def read(
        cls, source: Path, columns: Columns, limit: int | None, *, folder: Path, trained_on: Dataset | None
    ) -> "HeldOut":
        """Read the questions, and compare them with the training input if that is at hand. Blocks.

        Args:
            source: a file, or a data set of the Hub, which is kept in ``folder``.
            columns: its field names.
            limit: take only the first rows.
            folder: for a data set of the Hub.
            trained_on: the input of the run whose training data is in question.

        Raises:
            ConfigError: the questions cannot be read, there is none, or all are in the training input.
        """
        if not is_hub(source) and not source.is_file():
            what = "is not a file" if source.exists() else "no such file"
            raise ConfigError(f"{source}: {what} (the held-out questions)")
        with naming_setting("the held-out questions"):
            file = keep(source, folder)
            check_rows(file, columns)
            read = list(islice(read_all(file, columns), limit))
        rows = [row for row in read if isinstance(row, InputRow)]
        unreadable = [row for row in read if isinstance(row, Failed)]
        if not rows:
            raise ConfigError(f"{source}: holds no question that can be asked; {unreadable[0].message}")
        training = _at_hand(trained_on)
        shared = shared_with(training, columns, rows) if training else Shared([], [])
        left_out = set(shared.same)
        if len(left_out) == len(rows):
            raise ConfigError(
                f"{source}: all {len(rows):,} questions are in the training input {training} too, so none is held out"
            )
        asked = [row for row in rows if row.number not in left_out]
        return cls(file, asked, unreadable, shared, training)

    async def questions(self, over: bytes = b"") -> AsyncIterator[Asked | Failed]:
        """What is to be asked, or cannot be, without the rows that have a 1 in ``over``; it may be too short."""
        for failed in self.unreadable:
            yield failed
        for row in self.rows:
            if row.number >= len(over) or not over[row.number]:
                yield Asked(question=Question(row=row.number, id=row.id, text=row.question, answer=row.answer))


def _at_hand(dataset: Dataset | None) -> Path | None:
    """The file of a run's questions, if it can be read without fetching anything."""
    if dataset is None or dataset.input_path is None:
        return None
    found = at_hand(Path(dataset.input_path), Path(dataset.work_dir))
    return found if not is_hub(found) and found.is_file() else None


def read_all(source: Path, columns: Columns) -> Iterator[InputRow | Failed]:
    """Every row of a file of questions. Blocks. Raises ``ConfigError`` if it cannot be read."""
    unit_name = unit(source)
    return (parse_row(row, columns, unit_name) for row in rows_of(source))


def shared_with(training: Path, columns: Columns, held_out: Sequence[InputRow]) -> Shared:
    """Compare held-out questions with those of the training input, which is read once. Blocks.

    Raises:
        ConfigError: it cannot be read.
    """
    spelled = {row.number: " ".join(words(row.question)) for row in held_out}
    wanted, found = set(spelled.values()), set()
    held = Overlap([("held-out", (row.question for row in held_out))])

    def touching() -> Iterator[str]:
        for row in read_all(training, columns):
            if isinstance(row, InputRow) and held.find(row.question):
                found.add(" ".join(words(row.question)))
                yield row.question

    touched = Overlap([("training", touching())])
    same = [row.number for row in held_out if spelled[row.number] in found & wanted]
    known = set(same)
    similar = [row.number for row in held_out if row.number not in known and touched.find(row.question)]
    return Shared(same, similar)
