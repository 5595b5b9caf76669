"""The settings of a model on the vLLM engine embedded in this process."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from weak2wise.config.endpoint_settings import EndpointSettings
from weak2wise.config.section import Count

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
"""The ``engine_args`` (of vLLM up to 0.32) that decide what a model is and how it is sampled. All others only affect
where it runs and how fast."""


class VllmEndpoint(EndpointSettings, frozen=True, kw_only=True):
    """A model on the vLLM engine embedded in this process.

    Keys from ``dtype`` on are vLLM's engine arguments under vLLM's names; ``engine_args`` takes all others. Left out,
    they have vLLM's defaults. ``data_parallel_size`` copies of the model share the calls; each takes ``max_num_seqs``
    calls at once and uses ``tensor_parallel_size`` x ``pipeline_parallel_size`` GPUs.
    ``max_new_tokens`` defaults to ``DEFAULT_NEW_TOKENS``, or less if the model's context is shorter.
    ``chat_template: false`` sends the bare text, for base models that have no template. ``end_repetition`` stops an
    answer that only repeats itself, which would otherwise continue to the token limit. ``batch_invariant``: vLLM rounds
    the same whatever else is in a batch; slower, and only where the hardware allows it.
    """

    type: Literal["vllm", "transformers"] = "vllm"
    base_url: str | None = None
    api_key_env: str | None = None
    device: str | None = None
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)
    chat_template: bool = True
    end_repetition: bool = True
    batch_invariant: bool = False
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    revision: str | None = None
    download_dir: str | None = None
    max_model_len: Count | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    data_parallel_size: Count | None = None
    tensor_parallel_size: Count | None = None
    pipeline_parallel_size: Count | None = None
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    enforce_eager: bool | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    trust_remote_code: bool | None = None
    engine_args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        self._check_named("model_name")
        self._expand_user("model_id", "model_name")

    def answer_settings(self) -> dict[str, Any]:
        """What the model is and how it is sampled, but not where it runs and how fast."""
        settings = self._model_settings() | {key: getattr(self, key) for key in _VLLM_SHAPING}
        given = {key: self.engine_args[key] for key in _VLLM_ARGS_SHAPING if key in self.engine_args}
        settings |= {f"engine_args.{key}": value for key, value in given.items()}
        for key in ("trust_remote_code", "revision"):  # no other tokenizer key is passed to vLLM
            if value := self.tokenizer_kwargs.get(key):
                settings[f"tokenizer_kwargs.{key}"] = value
        if self.trust_remote_code or self.engine_args.get("trust_remote_code"):
            settings["trust_remote_code"] = True
        return settings


class TransformersEndpoint(VllmEndpoint, frozen=True, kw_only=True):
    """The reference's local model; it runs on the same embedded engine."""

    type: Literal["transformers"] = "transformers"
