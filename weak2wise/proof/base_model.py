"""The model that a training starts from: the run's weak LLM, or another folder."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.access import refusal
from weak2wise.errors import TRAINING, ConfigError
from weak2wise.outputs.work_dir import WorkDir

_WEIGHTS = ("*.safetensors", "*.bin")
_NOT_THE_MODEL = ("README.md", "trained.json", "training_args.bin")
_NOT_NEEDED = ["*.gguf", "*.pth", "original/*", "onnx/*"]


class BaseModel(Struct, frozen=True, kw_only=True):
    """A model folder in Hugging Face's layout.

    ``bare``: it is asked without a chat template, as ``chat_template: false`` of the run's weak LLM says. ``digest``:
    of all its files that decide what it answers.
    """

    name: str
    folder: Path
    digest: str
    bare: bool
    trust_remote_code: bool


def base_model(work: WorkDir, model: str | None = None) -> BaseModel:
    """Find the model and look at its files; a name that is no folder is one of the Hugging Face Hub. Blocks.

    Raises:
        ConfigError: there is no such model, or a file of it is missing.
    """
    shape, weak = work.manifest.shape, work.manifest.shape["models.mweak"]
    settings = {key: shape.get(f"model_endpoints.{weak}.{key}") for key in _SETTINGS}
    name = model or work.model_of(weak)
    if model is None and settings["chat_template"] is None:  # which every embedded model has
        raise ConfigError(
            f"the run's weak LLM, {name}, is not on this machine; name the folder of its weights with --model"
        )
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(name, None if model else settings["revision"], given=model is not None)
    _check(folder)
    return BaseModel(
        name=name,
        folder=folder.resolve(),
        digest=_digest(folder),
        bare=settings["chat_template"] is False,
        trust_remote_code=bool(settings["trust_remote_code"]),
    )


_SETTINGS = ("revision", "chat_template", "trust_remote_code")


def files_of(folder: Path) -> list[Path]:
    """The files of a model that decide what it answers, weights included, in order."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name not in _NOT_THE_MODEL
    )


def weights_of(folder: Path) -> list[Path]:
    """The files with the weights; safetensors, if there are any."""
    kinds = ([path for path in files_of(folder) if path.match(kind)] for kind in _WEIGHTS)
    return next(filter(None, kinds), [])


def _from_hub(name: str, revision: str | None, *, given: bool) -> Path:
    what = f"--model {name}" if given else f"the run's weak LLM, {name}"
    hint = "name the model's folder with --model"
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - an extra
        from huggingface_hub.utils import validate_repo_id  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"{what}: no such folder; {hint}, or to get it from the Hub: {TRAINING}") from None
    try:
        validate_repo_id(name)
        return Path(snapshot_download(name, revision=revision, ignore_patterns=_NOT_NEEDED))
    except Exception as error:  # noqa: BLE001 - errors depend on the HTTP library that huggingface_hub uses
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{what}: no such folder, and the Hub does not have it ({why}); {hint}") from None


def _check(folder: Path) -> None:
    """Check that the files of a model are there. Raises ``ConfigError``."""
    for needed in ("config.json", "tokenizer_config.json"):
        if not (folder / needed).is_file():
            raise ConfigError(f"{folder}: has no {needed}, so it is not a model in Hugging Face's layout (--model)")
    if "quantization_config" in _json(folder / "config.json"):
        raise ConfigError(f"{folder}: its weights are quantized, so they cannot be trained; name others with --model")
    for index in folder.glob("*.index.json"):
        for part in set(_json(index).get("weight_map", {}).values()):
            if not (folder / part).is_file():
                raise ConfigError(f"{folder}: has no {part}, which {index.name} names; get the model again (--model)")
    if not weights_of(folder):
        raise ConfigError(f"{folder}: has no weights ({' or '.join(_WEIGHTS)}) (--model)")


def _json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error} (--model)") from None


def _digest(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in files_of(folder):
        known = path.stat()
        sha.update(f"{path.name}\0{_file_digest(path, known.st_size, known.st_mtime_ns)}\n".encode())
    return sha.hexdigest()


@cache
def _file_digest(path: Path, size: int, changed: int) -> str:
    """Of the content; a file of the same size and time is read once in a process: weights have gigabytes."""
    del size, changed
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)} (--model)") from None
