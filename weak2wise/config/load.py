"""Load a checked ``Config`` from a YAML file and ``--set`` overrides. Error messages name the file and the key."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import structs

from weak2wise.access import refusal
from weak2wise.config.document import parse
from weak2wise.config.schema import Config, Dataset
from weak2wise.config.section import convert, unknown_key
from weak2wise.config.train import TrainSettings
from weak2wise.errors import ConfigError


def load_config(path: str | Path, overrides: Iterable[str] = (), env: Mapping[str, str] | None = os.environ) -> Config:
    """Read and check a config file.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` pairs; the value is YAML.
        env: the environment variables; API keys are looked up there. ``None``: they are not looked up.

    Raises:
        ConfigError: names the file, the key and what was expected.
    """
    path = Path(path)
    raw = _read(path)
    for override in overrides:
        _override(raw, override)
    try:
        config = _decode(raw)
        if env is not None:
            check_environment(config, env)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def load_work_dir(path: Path) -> Path:
    """The work_dir in a config file. Only the dataset section is checked. Raises ``ConfigError``."""
    raw = _read(path)
    try:
        return Path(convert(raw.get("dataset") or {}, Dataset, Dataset.section).work_dir)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def load_train(path: Path | None, overrides: Iterable[str] = ()) -> TrainSettings:
    """The section ``train`` of a config file, or of none; no other section is checked. Raises ``ConfigError``."""
    raw = _read(path) if path else {}
    for override in overrides:
        if override.partition(".")[0].strip() != TrainSettings.section:
            raise ConfigError(f"--set {override.partition('=')[0]}: expected a key of the section train")
        _override(raw, override)
    try:
        return convert(raw.get(TrainSettings.section) or {}, TrainSettings, TrainSettings.section)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if path else str(error)) from None


def check_environment(config: Config, env: Mapping[str, str] = os.environ) -> None:
    """Check that the secrets of the endpoints in use are set, to values that can be sent in an HTTP header.

    Raises:
        ConfigError: names the key and the variable, never a value.
    """
    for _, problem in environment_problems(config, env):
        raise ConfigError(problem)


def environment_problems(config: Config, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every secret of the endpoints in use that is not set or cannot be sent: the endpoint, and what is wrong."""
    for name in dict.fromkeys(config.roles().values()):
        endpoint = config.endpoints[name]
        for secret, variable in endpoint.secrets().items():
            key = f"model_endpoints.{name}.{endpoint.secret_key(secret)}"
            value = env.get(variable)
            if not value:
                # The user may have written the key itself here: only an upper-case name is repeated in the message.
                shown = variable if variable.isupper() else "of that name"
                yield name, f"{key}: environment variable {shown} is not set"
            elif value != value.strip() or not value.isprintable():
                said = (
                    f"environment variable {variable} holds a line break, a control character or white space "
                    "around its value (was it read from a file with Windows line ends?)"
                )
                yield name, f"{key}: {said}"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; pass --config FILE") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        raw = parse(text)
    except RecursionError:
        raise ConfigError(f"{path}: is not valid YAML: nested too deeply") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "syntax error"
        raise ConfigError(f"{path}:{line} is not valid YAML: {problem}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping with models, model_endpoints and dataset")
    return raw


def _override(raw: dict[str, Any], override: str) -> None:
    key, found, text = override.partition("=")
    parts = key.strip().split(".")
    if not found or not all(parts):
        raise ConfigError(f"--set {key}: expected key.path=value")
    # An endpoint's name may hold dots ("Qwen2.5-7B"): the longest existing key wins.
    endpoints = raw.get("model_endpoints")
    if parts[0] == "model_endpoints" and isinstance(endpoints, dict):
        rest = key.strip().partition(".")[2]
        names = [n for n in endpoints if isinstance(n, str) and rest.startswith(f"{n}.")]
        if names:
            name = max(names, key=len)
            parts = ["model_endpoints", name, *rest[len(name) + 1 :].split(".")]
    try:
        value = parse(text)
    except (yaml.YAMLError, RecursionError):
        raise ConfigError(f"--set {key}: the value is not YAML") from None
    target = raw
    for part in parts[:-1]:
        inner = target.setdefault(part, {})
        if inner is None:  # an empty "params:"
            inner = target[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}: {part} is not a mapping")
        target = inner
    target[parts[-1]] = value


def _decode(raw: dict[str, Any]) -> Config:
    known = {field.encode_name: field for field in structs.fields(Config)}
    for key in raw:
        if key not in known:
            raise ConfigError(unknown_key(str(key), known))
    for key, field in known.items():
        if field.required and key not in raw:
            raise ConfigError(f"{key}: missing")
    # An optional section without a value is empty.
    given = {known[key].name: value if value or known[key].required else {} for key, value in raw.items()}
    return Config(**given)
