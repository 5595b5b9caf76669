"""The settings of each kind of endpoint, and the interface that the rest of the program uses for any kind.

``type`` names the kind: a name in ``ENDPOINTS``, or the import path of the user's own class.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta, field, structs

from weak2wise.config.prices import NO_PRICES, OffPeak, Prices
from weak2wise.config.section import Count, Name, Natural, Positive, Section, Share, Temperature, Url, convert
from weak2wise.errors import ConfigError
from weak2wise.plugins import load_object
from weak2wise.presets import lane_for, presets

DEFAULT_NEW_TOKENS = 8192
"""Most tokens of one answer, if neither ``max_new_tokens`` nor the kind of endpoint sets another value. The reference's
default."""

_SECRET_HEADER = re.compile(r"authorization|cookie|secret|(^|[-_])(key|token)$", re.IGNORECASE)

_SECRET_PARAMETER = re.compile(r"(^|[-_])(key|token|secret|password|sig|code)$", re.IGNORECASE)

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


class GenerationKwargs(Section, frozen=True, kw_only=True):
    """How a model samples. ``temperature`` is accepted, as in the reference's config, but the method's own are used.

    ``do_sample: false`` means greedy, at any temperature.
    """

    section = "model_endpoints.*.generation_kwargs"

    max_new_tokens: Count | None = None
    do_sample: bool = True
    temperature: Temperature | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: int | None = None
    min_p: Share | None = None
    repetition_penalty: Positive | None = None


class LimitSettings(NamedTuple):
    """An endpoint's configured limits; ``None``: not configured. Endpoints of one ``limit_group`` share them."""

    limit_group: str | None = None
    max_concurrent_requests: int | None = None
    max_requests_per_minute: float | None = None
    max_tokens_per_minute: float | None = None


class EndpointSettings(Section, frozen=True, kw_only=True):
    """The keys and the interface that the settings of every kind of endpoint have.

    A class loaded by import path defines its settings as a nested class ``Settings``, a subclass of this one.
    Values must be what YAML can hold. Secrets stay in environment variables, which ``secrets`` names.
    """

    section: ClassVar[str] = "model_endpoints.*"

    type: str
    model_id: Name | None = None
    model_name: Name | None = None
    generation_kwargs: GenerationKwargs = GenerationKwargs()

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        for key in structs.fields(type(self)):
            try:
                msgspec.json.encode(getattr(self, key.name))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                raise ConfigError(
                    f"{self._key(key.encode_name)}: expected a value that YAML can hold: {error}"
                ) from None
        if self.type not in ENDPOINTS and not isinstance(self, kind := _plugin_settings(self.type, self._key("type"))):
            raise ConfigError(f"{self._key('type')}: expected settings of {self.type}, which are {kind.__qualname__}")

    def _check_named(self, key: str) -> None:
        if not (self.model_id or self.model_name):
            raise ConfigError(f"{self._key(key)}: missing; it names the model")

    def _model_settings(self) -> dict[str, Any]:
        # The method sets the temperature; the one given here is not used.
        return {"model": self.model, "generation_kwargs": structs.replace(self.generation_kwargs, temperature=None)}

    @property
    def model(self) -> str:
        """The model's name or local folder. The reference uses ``model_name`` for local models."""
        return self.model_name or self.model_id or self.type

    def secrets(self) -> dict[str, str]:
        """What needs a secret, for example a header, mapped to the environment variable that holds it."""
        return {}

    def secret_values(self, env: Mapping[str, str]) -> list[str]:
        """The values of the ``secrets`` that are set."""
        return [value for variable in self.secrets().values() if (value := env.get(variable))]

    def secret_key(self, name: str) -> str:
        """The config key, relative to the endpoint's section, that sets the variable of one of the ``secrets``."""
        return name

    def answer_settings(self) -> dict[str, Any]:
        """The settings that affect answers, apart from the prompt. Place, speed and API key do not.

        They are part of the manifest and of the journal's keys: an answer is reused only under the same settings.
        Here they are all keys and the class's version. A subclass removes keys that do not affect answers.
        """
        own = {key: getattr(self, key) for key in type(self).__struct_fields__}
        del own["model_id"], own["model_name"]
        return own | self._model_settings() | {"version": load_object(self.type, self._key("type")).version}

    @property
    def longest_answer(self) -> int:
        """The most tokens of one answer."""
        return self.generation_kwargs.max_new_tokens or DEFAULT_NEW_TOKENS

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float | None:  # noqa: ARG002
        """US dollars for one call; ``prompt_tokens`` include the cached ones. ``None`` if there are no prices.

        Where prices depend on the hour, it is the highest.
        """
        return None

    def expected_factor(self, *, off_peak: bool) -> float:  # noqa: ARG002
        """The share of that cost that is expected on average; ``off_peak``: if calls wait for off-peak hours."""
        return 1.0

    @property
    def off_peak(self) -> OffPeak | None:
        """The hours at which it costs less."""
        return None

    @property
    def answer_timeout(self) -> float | None:
        """How many seconds a run waits for an answer; ``None`` if that is not configured."""
        return None

    @property
    def limits(self) -> LimitSettings:
        """The configured limits of calls in flight, requests a minute and tokens a minute."""
        return LimitSettings()


class PluginEndpoint(EndpointSettings, frozen=True, kw_only=True):
    """The settings of a class that is loaded by import path and defines no ``Settings``."""

    options: dict[str, Any] = field(default_factory=dict)


class OpenAIEndpoint(EndpointSettings, frozen=True, kw_only=True):
    """A model behind an OpenAI-compatible ``/chat/completions``.

    All three limits apply together. A limit left out is learned. A 429 slows requests down in either case.
    Endpoints with the same ``limit_group`` share one set of limits, for example because they share an API key.
    ``base_urls`` (instead of ``base_url``) are replicas of one model; a call goes to the one with fewest in flight.
    A base URL may have a query (Azure's ``?api-version=…``), which every request gets, but no key in it.

    ``request_timeout`` (seconds) starts when the request is sent. With ``stream`` the answer comes as server-sent
    events, and its total time is not limited: ``idle_timeout`` is the longest time without a byte, and
    ``request_timeout`` the longest time without new text. A reply larger than ``max_response_mb`` is rejected. When an
    endpoint is down, calls wait for it, but at most ``outage_patience`` seconds. ``max_retries`` limits the retries of
    one call after transport faults; waiting because of a 429 does not count.

    ``lane: flex`` sends the same calls in the provider's slower and mostly cheaper lane, as ``presets.toml`` describes
    it. Where that has no capacity, ``lane_fallback`` says what a call does: ``wait``, or go the ``ordinary`` way.

    ``extra_body`` is merged into the request last; a null in it removes a key that would be sent (``seed``,
    ``max_tokens``). A header value ``$NAME`` is read from the environment.
    ``device`` and ``tokenizer_kwargs`` are accepted, as in the reference's config, but have no effect over HTTP.
    """

    type: Literal["openai"] = "openai"
    base_url: Url = "https://api.openai.com/v1"
    base_urls: tuple[Url, ...] = ()
    api_key_env: Name | None = None
    device: str | None = None
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)
    max_concurrent_requests: Count | None = None
    max_requests_per_minute: Positive | None = None
    max_tokens_per_minute: Positive | None = None
    limit_group: Name | None = None
    max_retries: Natural = 6
    request_timeout: Positive = 1800.0
    stream: bool = False
    idle_timeout: Positive = 300.0
    max_response_mb: Count = 64
    outage_patience: Positive = 600.0
    max_tokens: Count = 8192
    prices: Prices = Prices()
    lane: Literal["flex"] | None = None
    lane_fallback: Literal["wait", "ordinary"] = "wait"
    extra_body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        self._check_named("model_id")
        if self.api_key_env and not self.api_key_env.isidentifier():
            key = self._key("api_key_env")
            raise ConfigError(f"{key}: expected the name of an environment variable, not a key itself")
        self._check_queries()
        self._check_lane()
        variables = self.secrets()
        for header in self.headers:
            if _SECRET_HEADER.search(header) and header not in variables:
                key = self._key(f"headers.{header}")
                raise ConfigError(f"{key}: expected $NAME of an environment variable, not a key itself")

    def _check_queries(self) -> None:
        for key, urls in (("base_url", (self.base_url,)), ("base_urls", self.base_urls)):
            queries = [urlsplit(url).query for url in urls]
            for parameter, _ in parse_qsl("&".join(queries), keep_blank_values=True):
                if _SECRET_PARAMETER.search(parameter):
                    raise ConfigError(
                        f"{self._key(key)}: expected no key in the address (its parameter {parameter}); "
                        "set api_key_env, or set a header to $NAME of an environment variable"
                    )

    def _check_lane(self) -> None:
        if self.lane is None:
            if self.lane_fallback != "wait":
                raise ConfigError(f"{self._key('lane_fallback')}: has no effect without lane: flex")
            return
        if self.base_urls or (lane := lane_for(self.base_url, self.lane)) is None:
            have = ", ".join(name for name, preset in presets().items() if self.lane in preset.lanes)
            where = "base_urls" if self.base_urls else self.base_url
            raise ConfigError(
                f"{self._key('lane')}: no lane {self.lane} is known at {where}; providers that have one: {have}. For "
                "another one set its parameters in extra_body, and what it charges in prices"
            )
        for parameter in lane.body.keys() & self.extra_body.keys():
            raise ConfigError(
                f"{self._key(f'extra_body.{parameter}')}: lane: {self.lane} sets it; leave out one of them"
            )

    def in_lane(self) -> "tuple[OpenAIEndpoint, float]":
        """The settings with which a call is sent in its lane, and the share of the prices that is then charged."""
        lane = lane_for(self.base_url, self.lane) if self.lane else None
        if lane is None:
            return self, 1.0
        sent = structs.replace(
            self,
            lane=None,
            lane_fallback="wait",
            base_url=lane.base_url or self.base_url,
            stream=self.stream if lane.stream is None else lane.stream,
            request_timeout=max(self.request_timeout, lane.request_timeout),
            idle_timeout=max(self.idle_timeout, lane.request_timeout),
            extra_body=self.extra_body | lane.body,
        )
        return sent, lane.factor

    @property
    def model(self) -> str:
        """The provider's name for the model."""
        return self.model_id or super().model

    def secrets(self) -> dict[str, str]:
        """Each header with the environment variable of its value; the API key's header is ``Authorization``.

        Without ``api_key_env``, only OpenAI itself gets a key: the one in ``OPENAI_API_KEY``.
        """
        variables = {header: value[1:] for header, value in self.headers.items() if value.startswith("$")}
        of_openai = not self.base_urls and f"{self.base_url}/".startswith("https://api.openai.com/")
        key = self.api_key_env or ("OPENAI_API_KEY" if of_openai else None)
        if key and not any(header.casefold() == "authorization" for header in self.headers):
            variables["Authorization"] = key
        return variables

    def secret_key(self, name: str) -> str:
        """The config key that sets a header's variable."""
        return f"headers.{name}" if name in self.headers else "api_key_env"

    def answer_settings(self) -> dict[str, Any]:
        """The parts of the request besides the prompt."""
        return self._model_settings() | {"max_tokens": self.max_tokens, "extra_body": self.extra_body}

    @property
    def longest_answer(self) -> int:
        """The most tokens of one answer."""
        return self.generation_kwargs.max_new_tokens or self.max_tokens

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float | None:
        """US dollars for one call; ``None`` without prices."""
        if self.prices == NO_PRICES:
            return None
        return self.prices.cost(prompt_tokens, cached_tokens, completion_tokens)

    @property
    def off_peak(self) -> OffPeak | None:
        """The hours at which it costs less."""
        return self.prices.off_peak

    def expected_factor(self, *, off_peak: bool) -> float:
        """As of ``lane`` and ``prices.off_peak``; calls that do not wait for it are spread evenly over the week."""
        hours, lane = self.prices.off_peak, self.in_lane()[1]
        if hours is None:
            return lane
        return lane * (hours.factor if off_peak else hours.share * hours.factor + 1 - hours.share)

    @property
    def answer_timeout(self) -> float:
        """The longest silence where the answer is streamed, else the time for all of it."""
        sent, _ = self.in_lane()
        return sent.idle_timeout if sent.stream else sent.request_timeout

    @property
    def limits(self) -> LimitSettings:
        """The configured limits; the others are learned."""
        return LimitSettings(
            self.limit_group, self.max_concurrent_requests, self.max_requests_per_minute, self.max_tokens_per_minute
        )


class VllmEndpoint(EndpointSettings, frozen=True, kw_only=True):
    """A model on the vLLM engine embedded in this process.

    Keys from ``dtype`` on are vLLM's engine arguments under vLLM's names; ``engine_args`` takes all others. Left out,
    they have vLLM's defaults. ``data_parallel_size`` copies of the model share the calls; each takes ``max_num_seqs``
    calls at once and uses ``tensor_parallel_size`` x ``pipeline_parallel_size`` GPUs.
    ``max_new_tokens`` defaults to ``DEFAULT_NEW_TOKENS``, or less if the model's context is shorter.
    ``chat_template: false`` sends the bare text, for base models that have no template. ``end_repetition`` stops an
    answer that only repeats itself, which would otherwise continue to the token limit.
    """

    type: Literal["vllm", "transformers"] = "vllm"
    base_url: str | None = None
    api_key_env: str | None = None
    device: str | None = None
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)
    chat_template: bool = True
    end_repetition: bool = True
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


ENDPOINTS: dict[str, type[EndpointSettings]] = {
    "openai": OpenAIEndpoint,
    "vllm": VllmEndpoint,
    "transformers": TransformersEndpoint,
}
"""The built-in kinds, by ``type``."""


def decode_endpoint(value: object, key: str) -> EndpointSettings:
    """Decode one endpoint's section by its ``type``. A settings object is returned unchanged.

    Raises:
        ConfigError: it is not valid; the message uses ``key`` as the section's name.
    """
    if isinstance(value, EndpointSettings):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: expected a mapping")
    name = value.get("type", "openai")  # the reference's default
    if isinstance(name, str) and ":" in name:
        kind = _plugin_settings(name, f"{key}.type")
    elif isinstance(name, str) and name in ENDPOINTS:
        kind = ENDPOINTS[name]
    else:
        known = ", ".join(ENDPOINTS)
        raise ConfigError(f"{key}.type: expected one of {known}, or an import path module:Class, found {name!r}")
    # In the reference's config an empty `tokenizer_kwargs:` means "none".
    given = {k: v for k, v in value.items() if not (v is None and k in {"tokenizer_kwargs", "generation_kwargs"})}
    try:
        return convert({**given, "type": name}, kind, key)
    except ConfigError as error:
        # The settings object does not know its name in the file.
        raise ConfigError(str(error).replace(EndpointSettings.section, key, 1)) from None


def _plugin_settings(path: str, key: str) -> type[EndpointSettings]:
    """The settings class of an endpoint class loaded by import path. Raises ``ConfigError``."""
    kind = getattr(load_object(path, key), "Settings", PluginEndpoint)
    if not (isinstance(kind, type) and issubclass(kind, EndpointSettings)):
        raise ConfigError(f"{key}: {path}.Settings is not a subclass of weak2wise.config.EndpointSettings")
    return kind
