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

    Keys from ``dtype`` on are vLLM's engine arguments under vLLM's names. Left out, they have vLLM's defaults.
    """

    type: Literal["vllm", "transformers"] = "vllm"
    """The kind of endpoint."""
    base_url: str | None = None
    """Accepted, as in the reference's config; no effect on an embedded model."""
    api_key_env: str | None = None
    """Accepted, as in the reference's config; no effect on an embedded model."""
    device: str | None = None
    """Accepted, as in the reference's config; vLLM finds the devices."""
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)
    """Accepted, as in the reference's config."""
    chat_template: bool = True
    """``false`` sends the bare text, for base models that have no template."""
    end_repetition: bool = True
    """Stops an answer that only repeats itself, which would otherwise go on to the token limit."""
    batch_invariant: bool = False
    """vLLM rounds the same whatever else is in a batch: slower, and only on newer GPUs."""
    dtype: str | None = None
    """The type of the weights: ``bfloat16``, ``float32``."""
    quantization: str | None = None
    """How the weights are quantised."""
    kv_cache_dtype: str | None = None
    """The type of the KV cache."""
    revision: str | None = None
    """The model's revision on the Hub."""
    download_dir: str | None = None
    """Where the Hub's files are kept."""
    max_model_len: Count | None = None
    """The longest prompt and answer together, in tokens."""
    max_num_seqs: Count | None = None
    """Calls that each copy works on at once."""
    max_num_batched_tokens: Count | None = None
    """Tokens that each copy computes in one step."""
    data_parallel_size: Count | None = None
    """Copies of the model that share the calls; those of one question go to one copy."""
    tensor_parallel_size: Count | None = None
    """GPUs over which each layer of a copy is spread."""
    pipeline_parallel_size: Count | None = None
    """GPUs over which the layers of a copy are spread."""
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    """The share of a GPU's memory that vLLM takes."""
    enforce_eager: bool | None = None
    """Run without CUDA graphs and compilation."""
    enable_prefix_caching: bool | None = None
    """Reuse what was computed for the same beginning of another prompt."""
    enable_chunked_prefill: bool | None = None
    """Compute long prompts in pieces."""
    trust_remote_code: bool | None = None
    """Run Python code that comes with the model."""
    engine_args: dict[str, Any] = field(default_factory=dict)
    """Any other argument of vLLM's engine."""

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
