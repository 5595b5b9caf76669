"""Find the work_dir that a command works on."""

from pathlib import Path

from weak2wise.config import load_work_dir
from weak2wise.errors import ConfigError


def work_dir_of(given: Path | None, config: Path) -> Path:
    """The given work_dir, else the one in the config. API keys and models are not checked.

    Raises:
        ConfigError: the config cannot be read.
    """
    if given is not None:
        return given
    if not config.exists():
        raise ConfigError(f"{config}: no such file; pass --config FILE, or name a WORK_DIR")
    return load_work_dir(config)
