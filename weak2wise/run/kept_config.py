"""Keeps a run's config in its work_dir, so that other commands, and a later start, need to be given nothing else."""

from pathlib import Path

import msgspec
import yaml
from msgspec import structs

from weak2wise.access import refusal
from weak2wise.config import Config
from weak2wise.dataset import is_hub
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic

KEPT = "config.yaml"
_HEADER = "# Kept by weak2wise; to go on: weak2wise run --config THIS_FILE\n"


def keep_config(config: Config) -> None:
    """Write a config into its work_dir as ``config.yaml``, unless the user's own file has that name. Blocks.

    Raises:
        ConfigError: the file cannot be written.
    """
    path = Path(config.dataset.work_dir).resolve() / KEPT
    try:
        if not path.exists() or is_kept(path):
            write_config(config, path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {refusal(path, error)} (dataset.work_dir)") from None


def is_kept(path: Path) -> bool:
    """Whether a file is such a config, and not the user's own. Blocks; raises ``OSError``."""
    return path.read_text(encoding="utf-8", errors="replace").startswith(_HEADER)


def write_config(config: Config, path: Path) -> None:
    """Write a config into a file, with absolute paths. Blocks; raises ``OSError``."""
    kept = yaml.safe_dump(msgspec.to_builtins(_with_absolute_paths(config)), sort_keys=False, allow_unicode=True)
    write_atomic(path, [_HEADER.encode(), kept.encode()])


def _with_absolute_paths(config: Config) -> Config:
    """The config with absolute paths."""

    def absolute(name: str) -> str:
        return name if is_hub(Path(name)) else str(Path(name).resolve())

    dataset = config.dataset
    absolute_dataset = structs.replace(
        dataset,
        input_path=dataset.input_path and absolute(dataset.input_path),
        work_dir=absolute(dataset.work_dir),
        finetune_out=dataset.finetune_out and absolute(dataset.finetune_out),
        decontaminate=tuple(absolute(name) for name in dataset.decontaminate),
    )
    return structs.replace(config, dataset=absolute_dataset)
