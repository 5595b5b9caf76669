"""The files and folders that a config names, and checks of them before a run. Nothing is written."""

import errno
import os
from pathlib import Path

from weak2wise.access import refusal
from weak2wise.config import Config, input_of
from weak2wise.dataset import is_hub
from weak2wise.errors import ConfigError
from weak2wise.telemetry.log import OLDER_LOGS, older_log
from workers.method import METHOD

OWN = {"failed.jsonl", "summary.json", "run.log", "manifest.json", "lock"}
OWN |= {older_log(Path("run.log"), number).name for number in range(1, OLDER_LOGS + 1)}
OWN |= {"output.json", "questions.jsonl", "config.yaml"}
OWN |= {step.file for step in METHOD[:-1]}


def output_of(config: Config) -> Path:
    """The file that the training data is written to."""
    return Path(config.dataset.finetune_out or Path(config.dataset.work_dir) / METHOD[-1].file)


def is_own(path: Path, work_dir: Path) -> bool:
    """Whether a path is one of the run's own files. Its training data does not count as one."""
    path, work_dir = path.resolve(), work_dir.resolve()
    kept = any(path.is_relative_to(work_dir / folder) for folder in ("ledger", "parts", "compare"))
    return kept or (path.parent == work_dir and path.name in OWN)


def check_paths(config: Config, *, given: bool = False) -> None:
    """Check that input files exist and that output files can be written.

    ``given``: the questions are passed as objects, so there is no input file.

    Raises:
        ConfigError: naming the path and the key.
    """
    dataset, output = config.dataset, output_of(config)
    read = {"input_path": [] if given else [str(input_of(config))], "decontaminate": dataset.decontaminate}
    for key, names in read.items():
        for path in map(Path, names):
            if is_hub(path):
                continue
            _check_input(path, key)
            if output.resolve() == path.resolve():
                raise ConfigError(f"{output}: dataset.finetune_out would overwrite dataset.{key}")
    try:
        _check_output(output, Path(dataset.work_dir))
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {refusal(output, error)} (dataset.finetune_out)") from None
    for key, folder in {"work_dir": Path(dataset.work_dir), "finetune_out": output.parent}.items():
        if why := _unwritable(folder):
            raise ConfigError(f"{folder}: cannot be written: {why} (dataset.{key})")


def _check_input(path: Path, key: str) -> None:
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: {'is not a file' if path.exists() else 'no such file'} (dataset.{key})")
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)} (dataset.{key})") from None


def _check_output(output: Path, work_dir: Path) -> None:
    if is_own(output, work_dir):
        raise ConfigError(f"{output}: is a file of the run itself; choose another (dataset.finetune_out)")
    if is_own(output, output.parent) and (output.parent / "manifest.json").exists():
        raise ConfigError(f"{output}: is a file of the run in {output.parent}; choose another (dataset.finetune_out)")
    if output.exists() and not output.is_file() and not output.is_dir():
        raise ConfigError(f"{output}: is not a file (dataset.finetune_out)")
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder; expected a file to be written (dataset.finetune_out)")


def _unwritable(folder: Path) -> str | None:
    """Why a folder cannot be written in, or cannot be made; ``None`` if it can."""
    try:
        place = next(place for place in (folder, *folder.parents) if place.exists())
        if not place.is_dir():
            return os.strerror(errno.ENOTDIR)
        if not os.access(place, os.W_OK | os.X_OK):
            read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            return refusal(place, OSError(number, os.strerror(number)))
    except OSError as error:
        return refusal(folder, error)
    return None
