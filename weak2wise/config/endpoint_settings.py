"""The settings that every kind of endpoint has, and the interface that the rest of the program uses for any kind.

``type`` names the kind: one of ``BUILT_IN``, or the import path of the user's own class.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Meta, field, structs

from weak2wise.config.prices import OffPeak
from weak2wise.config.section import Count, Name, Positive, Section, Share, Temperature
from weak2wise.errors import ConfigError
from weak2wise.plugins import load_object

BUILT_IN = ("openai", "vllm", "transformers")
"""The kinds that are not loaded by import path."""
DEFAULT_NEW_TOKENS = 8192
"""Most tokens of one answer, if neither ``max_new_tokens`` nor the kind of endpoint sets another value. The reference's
default."""


class GenerationKwargs(Section, frozen=True, kw_only=True):
    """How a model samples."""

    section = "model_endpoints.*.generation_kwargs"

    max_new_tokens: Count | None = None
    """The most tokens of one answer. Left out: 8192, or less if an embedded model's context is shorter."""
    do_sample: bool = True
    """``false`` is greedy, at any temperature."""
    temperature: Temperature | None = None
    """Accepted, as in the reference's config; the method's own temperatures are used."""
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Sample from the likeliest tokens with this share of the probability."""
    top_k: int | None = None
    """Sample from this many of the likeliest tokens."""
    min_p: Share | None = None
    """Sample from tokens that have at least this share of the likeliest one's probability."""
    repetition_penalty: Positive | None = None
    """More than 1 makes tokens that were there before less likely."""


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
    """The kind: ``openai``, ``vllm``, ``transformers`` (the same as ``vllm``), or the import path of a class."""
    model_id: Name | None = None
    """The model's name at the provider."""
    model_name: Name | None = None
    """The model's name on the Hub, or its folder."""
    generation_kwargs: GenerationKwargs = GenerationKwargs()
    """How it samples."""

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
        if self.type not in BUILT_IN and not isinstance(self, kind := plugin_settings(self.type, self._key("type"))):
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
    def batched(self) -> bool:
        """Whether its calls are sent in batches, so that an answer may take a day."""
        return False

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
    """The class's own options."""


def plugin_settings(path: str, key: str) -> type[EndpointSettings]:
    """The settings class of an endpoint class loaded by import path. Raises ``ConfigError``."""
    kind = getattr(load_object(path, key), "Settings", PluginEndpoint)
    if not (isinstance(kind, type) and issubclass(kind, EndpointSettings)):
        raise ConfigError(f"{key}: {path}.Settings is not a subclass of weak2wise.config.EndpointSettings")
    return kind
