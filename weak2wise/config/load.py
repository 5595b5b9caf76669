"""From a YAML file and ``--set`` overrides to a checked ``Config``; every complaint names the file and the key."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
import yaml
from msgspec import structs

from weak2wise.config.document import parse
from weak2wise.config.schema import (
    Config,
    Dataset,
    Endpoint,
    EngineOptions,
    Models,
    OpenAIEndpoint,
    Params,
    PromptTexts,
    Section,
    TransformersEndpoint,
    VllmEndpoint,
)
from weak2wise.errors import ConfigError

T = TypeVar("T")

ENDPOINTS: dict[str, type[Endpoint]] = {
    "openai": OpenAIEndpoint,
    "vllm": VllmEndpoint,
    "transformers": TransformersEndpoint,
}


def load_config(path: Path, overrides: Iterable[str] = (), env: Mapping[str, str] = os.environ) -> Config:
    """Read and check a config file.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` pairs; the value is YAML.
        env: where API keys are looked for.

    Raises:
        ConfigError: naming the file, the key and what was expected.
    """
    config = read_config(path, overrides)
    try:
        _check(config, env)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def read_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """``load_config`` without the rules that cross keys or ask the environment. Raises ``ConfigError``."""
    raw = _read(path)
    for override in overrides:
        _override(raw, override)
    try:
        return _at_home(_decode(raw))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; pass --config FILE") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        raw = parse(text)
    except RecursionError:
        raise ConfigError(f"{path}: is no usable YAML: nested too deeply") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "syntax error"
        raise ConfigError(f"{path}:{line} is no usable YAML: {problem}") from None
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
        if inner is None:  # "params:" with nothing behind it
            inner = target[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}: {part} is not a mapping")
        target = inner
    target[parts[-1]] = value


def _decode(raw: dict[str, Any]) -> Config:
    known = {field.encode_name: field.required for field in structs.fields(Config)}
    for key in raw:
        if key not in known:
            raise ConfigError(_unknown(str(key), known))
    for key, required in known.items():
        if required and key not in raw:
            raise ConfigError(f"{key}: missing")
    endpoints = raw["model_endpoints"]
    if not isinstance(endpoints, dict):
        raise ConfigError("model_endpoints: expected a mapping of endpoint names")
    return Config(
        models=_convert(raw["models"], Models, "models"),
        endpoints={str(name): _endpoint(value, f"model_endpoints.{name}") for name, value in endpoints.items()},
        dataset=_convert(raw["dataset"], Dataset, "dataset"),
        params=_convert(raw.get("params") or {}, Params, "params"),
        prompts=_convert(raw.get("prompts") or {}, PromptTexts, "prompts"),
        engine=_convert(raw.get("engine") or {}, EngineOptions, "engine"),
    )


def _at_home(config: Config) -> Config:
    """The config with ``~`` in its paths made the home folder that it stands for."""

    def home(path: str) -> str:
        try:
            return str(Path(path).expanduser()) if path.startswith("~") else path
        except RuntimeError:
            raise ConfigError(f"{path}: there is no such user") from None

    dataset = config.dataset
    placed = structs.replace(
        dataset,
        input_path=home(dataset.input_path),
        work_dir=home(dataset.work_dir),
        finetune_out=dataset.finetune_out and home(dataset.finetune_out),
        decontaminate=tuple(home(path) for path in dataset.decontaminate),
    )
    endpoints: dict[str, Endpoint] = {
        name: structs.replace(end, model_name=home(end.model)) if _in_home(end) else end
        for name, end in config.endpoints.items()
    }
    return structs.replace(config, dataset=placed, endpoints=endpoints)


def _in_home(endpoint: Endpoint) -> bool:
    return isinstance(endpoint, VllmEndpoint) and endpoint.model.startswith("~")


def _endpoint(value: object, where: str) -> Endpoint:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a mapping")
    kind = value.get("type", "openai")  # the reference's default
    if kind not in ENDPOINTS:
        raise ConfigError(f"{where}.type: expected one of {', '.join(ENDPOINTS)}, found {kind!r}")
    # The reference writes `tokenizer_kwargs:` with nothing behind it for "none".
    value = {k: v for k, v in value.items() if not (v is None and k in {"tokenizer_kwargs", "generation_kwargs"})}
    endpoint = _convert({**value, "type": kind}, ENDPOINTS[kind], where)
    if not (endpoint.model_id or endpoint.model_name):
        key = "model_id" if kind == "openai" else "model_name"
        raise ConfigError(f"{where}.{key}: missing; it names the model")
    return endpoint


_SECRET_HEADER = re.compile(r"authorization|cookie|secret|(^|[-_])(key|token)$", re.IGNORECASE)
_AT = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`")


def _convert(value: object, kind: type[T], where: str) -> T:
    """Decode one section, turning msgspec's message into ``section.key: what was expected``."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message = str(error)
    at = _AT.search(message)
    path = where + (at["path"] if at else "")
    body = message[: at.start()] if at else message
    if unknown := _UNKNOWN.search(body):
        fields = _fields_at(kind, path.removeprefix(where))
        raise ConfigError(_unknown(f"{path}.{unknown['key']}", fields)) from None
    if "enum value" in body:
        parent, _, key = path.removeprefix(where).rpartition(".")
        body = f"expected one of {', '.join(get_args(_fields_at(kind, parent).get(key)))}"
    if "matching regex" in body:
        body = "expected http:// or https:// and a host, with no user, password or query"
    body = body.replace("`", "").replace("Expected", "expected", 1).replace("Invalid", "invalid", 1)
    body = body.replace("Object missing required field", "missing key")
    raise ConfigError(f"{path}: {body}{_found(value, path.removeprefix(where))}") from None


def _found(value: object, path: str) -> str:
    """The offending value itself where it is a number; text is not echoed: it may be a secret."""
    for key in filter(None, path.split(".")):
        if not isinstance(value, dict) or key not in value:
            return ""
        value = value[key]
    return f", found {value!r}" if isinstance(value, int | float) else ""


def _fields_at(kind: Any, path: str) -> dict[str, Any]:
    """The keys that the section at ``path`` below ``kind`` knows, with their types."""
    for key in filter(None, path.split(".")):
        inner = {f.encode_name: f.type for f in structs.fields(kind)}.get(key)
        if not (isinstance(inner, type) and issubclass(inner, Section)):
            return {}
        kind = inner
    return {f.encode_name: f.type for f in structs.fields(kind)}


def _unknown(path: str, known: Iterable[str]) -> str:
    key = path.rpartition(".")[2]
    return f"{path}: unknown key; {_nearest(key, known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


def _check(config: Config, env: Mapping[str, str]) -> None:
    """Rules that cross keys: references resolve, names are distinct, the environment has the keys."""
    models = config.models
    if len(set(models.mstrong)) < len(models.mstrong):
        raise ConfigError("models.mstrong: an endpoint is named twice; use params.samples_per_model for more samples")
    if config.params.judge_mode == "llm" and models.judge is None:
        raise ConfigError("models.judge: missing; params.judge_mode is llm")
    if config.params.truncation == "rewrite" and models.truncation is None:
        raise ConfigError("models.truncation: missing; params.truncation is rewrite")
    traces = len(models.mstrong) * config.params.samples_per_model
    if (config.params.min_candidates or 0) > traces:
        raise ConfigError(f"params.min_candidates: expected at most {traces}, the number of traces of a question")
    for role, name in config.roles().items():
        key = {"weak": "mweak"}.get(role, "mstrong" if role.startswith("strong/") else role)
        endpoint = config.endpoints.get(name)
        if endpoint is None:
            raise ConfigError(
                f"models.{key}: no endpoint {name!r} in model_endpoints; {_nearest(name, config.endpoints)}"
            )
        if isinstance(endpoint, OpenAIEndpoint):
            _check_environment(f"model_endpoints.{name}", endpoint, env)
    _check_limit_groups(config)
    in_use = [config.endpoints[name] for name in config.roles().values()]
    priced = any(isinstance(e, OpenAIEndpoint) and (e.prices.input or e.prices.output) for e in in_use)
    if config.engine.max_cost_usd is not None and not priced:
        raise ConfigError("engine.max_cost_usd: nothing in use has a price; give model_endpoints.….prices")


def _check_limit_groups(config: Config) -> None:
    """Endpoints that share limits agree on them."""
    first: dict[str, tuple[str, OpenAIEndpoint]] = {}
    for name, endpoint in config.endpoints.items():
        if not isinstance(endpoint, OpenAIEndpoint) or endpoint.limit_group is None:
            continue
        other, like = first.setdefault(endpoint.limit_group, (name, endpoint))
        for key in ("max_concurrent_requests", "max_requests_per_minute", "max_tokens_per_minute"):
            if getattr(endpoint, key) != getattr(like, key):
                group = endpoint.limit_group
                raise ConfigError(
                    f"model_endpoints.{name}.{key}: expected the same as for {other}; both are in limit_group {group}"
                )


def _check_environment(where: str, endpoint: OpenAIEndpoint, env: Mapping[str, str]) -> None:
    if endpoint.api_key_env and not endpoint.api_key_env.isidentifier():
        raise ConfigError(f"{where}.api_key_env: expected the name of an environment variable, not a key itself")
    variables = endpoint.secrets()
    for header in endpoint.headers:
        if _SECRET_HEADER.search(header) and header not in variables:
            raise ConfigError(f"{where}.headers.{header}: expected $NAME of an environment variable, not a key itself")
    for header, variable in variables.items():
        key = f"{where}.headers.{header}" if header in endpoint.headers else f"{where}.api_key_env"
        if not env.get(variable):
            # Some keys could be names; no one writes a variable for one in small letters.
            name = variable if variable.isupper() else "of that name"
            raise ConfigError(f"{key}: environment variable {name} is not set")
        _check_value(key, variable, env)


def _check_value(where: str, name: str, env: Mapping[str, str]) -> None:
    """What HTTP cannot carry: it would be a bug's traceback at the first request."""
    value = env[name]
    if value != value.strip() or not value.isprintable():
        raise ConfigError(
            f"{where}: environment variable {name} holds a line break, a control character or white space around its "
            "value (was it read from a file with Windows line ends?)"
        )
