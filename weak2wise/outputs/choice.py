"""Which rows an export takes: the best of them, evenly over the values of a column if asked.

In memory a row costs a few bytes: its score and the number of its group.
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
    """What choosing needs of a golden trace; its texts are skipped."""

    score: _Score
    winner: _Winner


def choose(work: WorkDir, *, top: int | None, min_score: float | None, balance_by: str | None) -> Iterator[int]:
    """The rows to export, in input order. Blocks.

    Args:
        work: the run.
        top: at most so many, the highest scores first, ties to the earlier row.
        min_score: none below this.
        balance_by: ``m_strong`` or a column of the input; ``top`` is then shared evenly between its values, and what
            one value cannot fill goes to the others.

    Raises:
        ConfigError: there is no such column, or the input cannot be read any more.
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
    """How many of ``top`` each group gets: the same for all, but none more than it has."""
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
    """The number of the group that each of the rows belongs to, by a column of the input."""
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
