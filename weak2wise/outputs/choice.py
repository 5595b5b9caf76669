"""Choose the rows of an export: those with the best scores, optionally balanced over the values of a column.

A row takes a few bytes of memory: its score and the number of its group.
"""

from array import array
from collections.abc import Iterator, Sequence

from msgspec import Struct

from weak2wise.dataset import read_values
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Done, Ledger, RowStatus
from weak2wise.outputs.work_dir import WorkDir
from workers.method import step_making
from workers.records import Golden, SftRow


class _Score(Struct):
    score: float


class _Winner(Struct):
    m_strong: str


class _Golden(Struct):
    """The fields of a golden trace that choosing needs; its texts are not decoded."""

    score: _Score
    winner: _Winner


def choose(work: WorkDir, *, top: int | None, min_score: float | None, balance_by: str | None) -> Iterator[int]:
    """The rows to export, in input order. Blocks.

    Args:
        work: the run.
        top: the highest number of rows; the best scores are taken, and on equal scores the earlier row.
        min_score: the lowest score of a row.
        balance_by: ``m_strong`` or a column of the input; ``top`` is divided evenly between its values. If one value
            has too few rows, the others get the rest.

    Raises:
        ConfigError: there is no such column, or the input can no longer be read.
    """
    golden: Ledger[_Golden] = work.ledger(step_making(Golden).name, _Golden)
    golden.look()
    done = work.made(SftRow)
    rows, scores, groups = array("Q"), array("d"), array("L")
    strong: dict[str, int] = {}
    for row in done.rows():
        if done.status(row) is not RowStatus.DONE:
            continue
        outcome = golden.read(row)
        assert isinstance(outcome, Done)
        if min_score is None or outcome.record.score.score >= min_score:
            rows.append(row)
            scores.append(outcome.record.score.score)
            groups.append(strong.setdefault(outcome.record.winner.m_strong, len(strong)))
    if top is None:
        return iter(rows)
    if balance_by is None:
        groups = array("L", bytes(len(rows) * groups.itemsize))
    elif balance_by != "m_strong":
        groups = _input_groups(work, balance_by, rows)
    best = sorted(range(len(rows)), key=lambda at: (-scores[at], rows[at]))
    room = shares(groups, top)
    taken = array("Q")
    for at in best:
        if room[groups[at]]:
            room[groups[at]] -= 1
            taken.append(rows[at])
    return iter(sorted(taken))


def shares(groups: Sequence[int], top: int) -> list[int]:
    """How many of ``top`` rows each group gets: the same number for all, but not more than the group has."""
    sizes = [0] * (max(groups, default=-1) + 1)
    for group in groups:
        sizes[group] += 1
    left, open_groups = top, sorted(range(len(sizes)), key=lambda group: sizes[group])
    room = [0] * len(sizes)
    for number, group in enumerate(open_groups):
        fair, rest = divmod(left, len(sizes) - number)
        room[group] = min(sizes[group], fair + (rest > 0))
        left -= room[group]
    return room


def _input_groups(work: WorkDir, column: str, rows: Sequence[int]) -> "array[int]":
    """The group number of each row, by its value in a column of the input."""
    path = work.input_path()
    numbers: dict[str, int] = {}
    groups = array("L")
    values = read_values(path, column)
    for row in rows:
        value = next((value for number, value in values if number == row), None)
        if value is None:
            raise ConfigError(f"{path}: row {row} has no column {column!r} (--balance-by)")
        groups.append(numbers.setdefault(value, len(numbers)))
    return groups
