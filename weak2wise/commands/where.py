"""Which run a command is about."""

from pathlib import Path

from weak2wise.config import load_work_dir
from weak2wise.errors import ConfigError


def work_dir_of(given: Path | None, config: Path) -> Path:
    """The work_dir given, else the config's; keys and models need not be there.

    Raises:
        ConfigError: the config cannot be read.
    """
    if given is not None:
        return given
    if not config.exists():
        raise ConfigError(f"{config}: no such file; pass --config FILE, or name a WORK_DIR")
    return load_work_dir(config)
