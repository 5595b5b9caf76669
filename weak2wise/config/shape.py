"""Which keys shape results, for the manifest; and what shapes one endpoint's answers, for the journal."""

from typing import Any

import msgspec
from msgspec import structs

from weak2wise.config.schema import Config, Endpoint, OpenAIEndpoint
from weak2wise.ledger.manifest import DIGEST, digest

_VLLM_SHAPING = (
    "chat_template",
    "end_repetition",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "revision",
    "max_model_len",
)

_VLLM_ARGS_SHAPING = (
    *_VLLM_SHAPING[2:],
    "code_revision",
    "config_format",
    "disable_sliding_window",
    "generation_config",
    "hf_config_path",
    "hf_overrides",
    "kv_cache_dtype_skip_layers",
    "load_format",
    "logits_processors",
    "mamba_cache_dtype",
    "mamba_ssm_cache_dtype",
    "model_class_overrides",
    "model_impl",
    "model_weights",
    "override_generation_config",
    "quantization_config",
    "rope_scaling",
    "rope_theta",
    "seed",
    "speculative_config",
    "tokenizer",
    "tokenizer_mode",
    "tokenizer_revision",
    "use_fp64_gumbel",
    "watermark",
    "watermark_config",
)
"""Of ``engine_args``, those of vLLM 0.32 and before that decide what a model is and how it is sampled; any other says
where it runs and how fast."""


def answer_settings(endpoint: Endpoint) -> dict[str, Any]:
    """What else than the prompt decides an endpoint's answers; where it runs, how fast and with which key does not."""
    sampling = structs.replace(endpoint.generation_kwargs, temperature=None)  # the method's rules, not this one
    settings: dict[str, Any] = {"model": endpoint.model, "generation_kwargs": sampling}
    if isinstance(endpoint, OpenAIEndpoint):
        return settings | {"max_tokens": endpoint.max_tokens, "extra_body": endpoint.extra_body}
    settings |= {key: getattr(endpoint, key) for key in _VLLM_SHAPING}
    given = {key: endpoint.engine_args[key] for key in _VLLM_ARGS_SHAPING if key in endpoint.engine_args}
    settings |= {f"engine_args.{key}": value for key, value in given.items()}
    for key in ("trust_remote_code", "revision"):  # vLLM is told no other key of the tokenizer's
        if value := endpoint.tokenizer_kwargs.get(key):
            settings[f"tokenizer_kwargs.{key}"] = value
    if endpoint.trust_remote_code or endpoint.engine_args.get("trust_remote_code"):
        settings["trust_remote_code"] = True
    return settings


def _shown(value: object) -> object:
    """A text, a number or nothing as it is; what may be long or hold a secret as a digest."""
    return value if not value or isinstance(value, str | int | float) else _digest(value)


def _digest(value: object) -> str:
    return f"{DIGEST}{digest(value)}"


def result_shape(config: Config, prompts: dict[str, str], scorer_version: str | None = None) -> dict[str, Any]:
    """Dotted config keys that shape results, with their values as JSON has them; free-form ones as digests.

    ``prompts`` are the texts in use, the config's or the defaults; ``scorer_version`` is that of a scorer
    that is loaded by import path.
    """
    shape: dict[str, Any] = {f"params.{key}": value for key, value in structs.asdict(config.params).items()}
    if config.params.scorer == "stepmask":  # as manifests were before there was another
        del shape["params.scorer"]
    if scorer_version is not None:
        shape["params.scorer_version"] = scorer_version
    shape |= {f"models.{key}": value for key, value in structs.asdict(config.models).items()}
    for name in dict.fromkeys(config.roles().values()):
        for key, value in answer_settings(config.endpoints[name]).items():
            shape[f"model_endpoints.{name}.{key}"] = _shown(value)
    for key, value in structs.asdict(config.dataset.columns).items():
        shape[f"dataset.columns.{key}"] = value
    shape |= {f"prompts.{key}": _digest(text) for key, text in prompts.items()}
    as_kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(shape))  # to be compared with a manifest's
    return as_kept
