"""The settings of a model behind an OpenAI-compatible API."""

import re
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from msgspec import field, structs

from weak2wise.config.batch import Batch
from weak2wise.config.endpoint_settings import EndpointSettings, LimitSettings
from weak2wise.config.prices import NO_PRICES, OffPeak, Prices
from weak2wise.config.section import Count, Name, Natural, Positive, Url
from weak2wise.errors import ConfigError
from weak2wise.presets import BatchApi, batch_api_for, lane_for, presets

_SECRET_HEADER = re.compile(r"authorization|cookie|secret|(^|[-_])(key|token)$", re.IGNORECASE)

_SECRET_PARAMETER = re.compile(r"(^|[-_])(key|token|secret|password|sig|code)$", re.IGNORECASE)


class OpenAIEndpoint(EndpointSettings, frozen=True, kw_only=True):
    """A model behind an OpenAI-compatible ``/chat/completions``.

    All three limits apply together. A limit left out is learned. A 429 slows requests down in either case. ``lane``
    and ``batch`` change what a call costs and how long it takes, no answer.
    """

    type: Literal["openai"] = "openai"
    """The kind of endpoint."""
    base_url: Url = "https://api.openai.com/v1"
    """Its address. It may have a query (Azure's ``?api-version=…``), which every request gets, but no key in it."""
    base_urls: tuple[Url, ...] = ()
    """Instead of ``base_url``: replicas of one model. A call goes to the one with fewest in flight."""
    api_key_env: Name | None = None
    """The name of the environment variable that holds the key."""
    device: str | None = None
    """Accepted, as in the reference's config; no effect over HTTP."""
    tokenizer_kwargs: dict[str, Any] = field(default_factory=dict)
    """Accepted, as in the reference's config; no effect over HTTP."""
    max_concurrent_requests: Count | None = None
    """Requests in flight at once."""
    max_requests_per_minute: Positive | None = None
    """Requests a minute."""
    max_tokens_per_minute: Positive | None = None
    """Tokens a minute, of prompts and answers."""
    limit_group: Name | None = None
    """Endpoints with the same one share one set of limits, for example because they share a key."""
    max_retries: Natural = 6
    """Retries of one call after transport faults. Waiting because of a 429 does not count."""
    request_timeout: Positive = 1800.0
    """Seconds from sending to the whole answer; with ``stream``, the longest time without new text."""
    stream: bool = False
    """The answer comes as server-sent events, and its total time is not limited."""
    idle_timeout: Positive = 300.0
    """With ``stream``: the longest time in seconds without a byte."""
    max_response_mb: Count = 64
    """A larger reply is rejected."""
    outage_patience: Positive = 600.0
    """Seconds that calls wait while the endpoint is down."""
    max_tokens: Count = 8192
    """The most tokens of one answer."""
    prices: Prices = Prices()
    """What it charges. Without prices its calls count as free."""
    lane: Literal["flex"] | None = None
    """``flex`` sends the same calls in the provider's slower and mostly cheaper lane, as ``presets.toml`` describes
    it."""
    lane_fallback: Literal["wait", "ordinary"] = "wait"
    """Where that lane has no capacity, a call waits, or goes the ``ordinary`` way."""
    batch: Batch | None = None
    """Sends its calls in batches."""
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Merged into each request last. A null removes a key that would be sent (``seed``, ``max_tokens``)."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with each request. A value ``$NAME`` is read from the environment."""

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        self._check_named("model_id")
        if self.api_key_env and not self.api_key_env.isidentifier():
            key = self._key("api_key_env")
            raise ConfigError(f"{key}: expected the name of an environment variable, not a key itself")
        self._check_queries()
        self._check_lane()
        self._check_batch()
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

    def _check_batch(self) -> None:
        if self.batch is None:
            return
        for key in ("lane", "base_urls"):
            if getattr(self, key):
                raise ConfigError(f"{self._key('batch')}: cannot be used with {key}; leave out one of them")
        if (api := batch_api_for(self.base_url)) is None:
            have = ", ".join(name for name, preset in presets().items() if preset.batch)
            raise ConfigError(
                f"{self._key('batch')}: the provider at {self.base_url} has no batch API like OpenAI's files and "
                f"batches; providers that have one: {have}"
            )
        if self.batch.max_requests > api.max_requests:
            key = self._key("batch.max_requests")
            raise ConfigError(f"{key}: expected at most {api.max_requests}, the most that this provider takes")

    @property
    def batch_api(self) -> BatchApi:
        """The provider's batch API."""
        return batch_api_for(self.base_url) or BatchApi()

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
    def batched(self) -> bool:
        """Whether ``batch`` is set."""
        return self.batch is not None

    @property
    def off_peak(self) -> OffPeak | None:
        """The hours at which it costs less."""
        return self.prices.off_peak

    def expected_factor(self, *, off_peak: bool) -> float:
        """As of ``batch``, ``lane`` and ``prices.off_peak``; calls that do not wait are spread evenly over the week."""
        if self.batch:
            return self.batch_api.factor
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
