"""What ``weak2wise compare`` has found that other scorers would choose; it keeps that in the work_dir."""

from pathlib import Path

import msgspec
from msgspec import Struct

from weak2wise.errors import ConfigError


class Choice(Struct, frozen=True):
    """A scorer's choice of one question. ``winner``: the candidate's number from 0; ``order``: each one's place."""

    winner: int
    order: tuple[int, ...]

    def places(self) -> list[tuple[int, bool]]:
        """A sort key for each candidate: its place, and the chosen one before others with the same place."""
        return [(place, at != self.winner) for at, place in enumerate(self.order)]


class _Question(Struct):
    row: int
    choices: dict[str, list[Choice]]


class _Comparison(Struct):
    questions: list[_Question]


def choices_by(work_dir: Path, scorer: str) -> dict[int, Choice]:
    """A scorer's choices by row, with the run's own seed; empty if there is no comparison. Blocks.

    Raises:
        ConfigError: the file cannot be read.
    """
    path = work_dir / "compare" / "compare.json"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Comparison)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; move it away, and compare again") from None
    return {question.row: question.choices[scorer][0] for question in found.questions if scorer in question.choices}
