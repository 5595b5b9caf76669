"""Looks through the input of a run for questions that nearly repeat an earlier one."""

from collections.abc import Iterator
from pathlib import Path

from weak2wise.config import Config
from weak2wise.dataset import naming_setting, read_valid_rows
from weak2wise.errors import ConfigError
from workers.dedup import NearDuplicates, near_duplicates


def read_duplicates(config: Config, source: Path) -> NearDuplicates | None:
    """The rows to drop, ``None`` if ``dataset.dedup`` does not ask for it. Blocks; reads the whole input twice.

    Raises:
        ConfigError: it cannot be read, or changes meanwhile.
    """
    similarity = config.dataset.dedup
    if similarity is None:
        return None

    def rows() -> Iterator[tuple[int, str, str]]:
        with naming_setting("dataset.input_path"):
            for row in read_valid_rows(source, config.dataset.columns):
                yield row.number, row.question, row.answer

    try:
        return near_duplicates(rows, similarity)
    except ValueError:
        raise ConfigError(f"{source}: has changed while it was read; start again (dataset.input_path)") from None
