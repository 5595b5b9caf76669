"""Which run a command is about."""

from pathlib import Path

from weak2wise.config import read_config


def work_dir_of(given: Path | None, config: Path) -> Path:
    """The work_dir given, else the config's; keys and models need not be there.

    Raises:
        ConfigError: the config cannot be read.
    """
    return given if given is not None else Path(read_config(config).dataset.work_dir)
