"""Which keys shape results, for the manifest; and what shapes one endpoint's answers, for the journal."""

from typing import Any

import msgspec

from weak2wise.config.schema import AnyEndpoint, Config, OpenAIEndpoint
from weak2wise.ledger.manifest import digest

_VLLM_SHAPING = (
    "chat_template",
    "end_repetition",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "revision",
    "max_model_len",
)


def answer_settings(endpoint: AnyEndpoint) -> dict[str, Any]:
    """What else than the prompt decides an endpoint's answers; where it runs, how fast and with which key does not."""
    settings: dict[str, Any] = {"model": endpoint.model, "generation_kwargs": endpoint.generation_kwargs}
    if isinstance(endpoint, OpenAIEndpoint):
        return settings | {"max_tokens": endpoint.max_tokens, "extra_body": endpoint.extra_body}
    return settings | {key: getattr(endpoint, key) for key in _VLLM_SHAPING}


def _shown(value: object) -> str:
    """A text or a number as it is, what may be long or hold a secret as a digest."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if value is None or isinstance(value, int | float) else digest(value)


def result_shape(config: Config, prompts: dict[str, str]) -> dict[str, str]:
    """Dotted config keys that shape results, with their values; free-form ones as digests.

    ``prompts`` are the texts in use, the config's or the defaults.
    """
    shape = {f"params.{key}": str(value) for key, value in msgspec.structs.asdict(config.params).items()}
    for key, value in msgspec.structs.asdict(config.models).items():
        shape[f"models.{key}"] = ", ".join(value) if isinstance(value, tuple) else str(value)
    for name in dict.fromkeys(config.roles().values()):
        for key, value in answer_settings(config.endpoints[name]).items():
            shape[f"model_endpoints.{name}.{key}"] = _shown(value)
    for key, value in msgspec.structs.asdict(config.dataset.columns).items():
        shape[f"dataset.columns.{key}"] = value
    return shape | {f"prompts.{key}": digest(text) for key, text in prompts.items()}
