"""Questions that are passed as objects. They are stored in the work_dir, so that the same call can continue a run."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.access import refusal
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import make_private, write_atomic
from weak2wise.ledger.manifest import Resume

Questions = Iterable[Mapping[str, Any]]
"""Mappings with the columns that ``dataset.columns`` names, a pandas ``DataFrame``, or a ``datasets.Dataset``."""

_CHUNK_ROWS = 1000


def kept_questions(work_dir: Path) -> Path:
    """The file of a work_dir in which the questions are stored."""
    return work_dir / "questions.jsonl"


def keep_questions(questions: Questions, work_dir: Path, resume: Resume) -> Path:
    """Write the questions into the work_dir, and return the file. Blocks; takes them one by one.

    Those of an earlier call stay as they are. With ``force`` new ones may follow the earlier ones; with ``never`` they
    may all be different.

    Raises:
        ConfigError: they are not those of the earlier call, or are not mappings.
    """
    path = kept_questions(work_dir)
    fresh = path.with_name(".questions.new.jsonl")
    make_private(work_dir)
    try:
        write_atomic(fresh, _lines(questions))
        if path.exists():
            grown = _begins_with(fresh, path)
            if grown and fresh.stat().st_size == path.stat().st_size:
                return path
            if resume == "auto" or (resume == "force" and not grown):
                raise ConfigError(
                    f"{work_dir}: was started with other questions; pass those, choose another work_dir, or pass "
                    + ("resume='force' (go on) or " if grown else "")
                    + "resume='never' (start over)"
                )
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {refusal(path, error)} (the questions)") from None
    finally:
        fresh.unlink(missing_ok=True)
    return path


def _begins_with(longer: Path, beginning: Path) -> bool:
    """Whether a file begins with the whole content of another."""
    with longer.open("rb") as one, beginning.open("rb") as other:
        while chunk := other.read(1 << 20):
            if one.read(len(chunk)) != chunk:
                return False
    return True


def _lines(questions: Questions) -> Iterator[bytes]:
    encode = msgspec.json.Encoder(enc_hook=_plain).encode
    for number, row in enumerate(_rows(questions), 1):
        if not isinstance(row, Mapping):
            raise ConfigError(f"questions: number {number} is a {type(row).__name__}; expected a mapping of columns")
        try:
            line = encode({str(column): value for column, value in row.items()})
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"questions: number {number} cannot be written as JSON: {error}") from None
        yield line + b"\n"


def _rows(questions: Any) -> Iterable[Any]:
    """The rows of any type of ``Questions``; those of a ``DataFrame`` are converted a few at a time."""
    if hasattr(questions, "iloc") and hasattr(questions, "to_dict"):
        return (
            row
            for start in range(0, len(questions), _CHUNK_ROWS)
            for row in questions.iloc[start : start + _CHUNK_ROWS].to_dict("records")
        )
    if isinstance(questions, str | bytes | Mapping) or not isinstance(questions, Iterable):
        raise ConfigError(
            f"questions: expected a path, mappings, a DataFrame or a Dataset, found a {type(questions).__name__}"
        )
    return questions


def _plain(value: Any) -> Any:
    """A numpy scalar as a Python value; any other value that JSON lacks as text."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else str(value)
