"""Find the work_dir that a command works on, and its config."""

from pathlib import Path

from weak2wise.config import load_work_dir
from weak2wise.errors import ConfigError
from weak2wise.run.kept_config import KEPT


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


def kept_config(work_dir: Path) -> Path | None:
    """The config of the last start in a work_dir; ``None`` if it has none, as one of an early version."""
    kept = work_dir / KEPT
    return kept if kept.is_file() else None


def config_of(work_dir: Path | None, given: Path | None) -> Path:
    """The config of a run: the given file, else the one that its work_dir keeps, else ``config.yaml`` here."""
    return given or (work_dir and kept_config(work_dir)) or Path("config.yaml")
