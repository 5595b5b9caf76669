"""The base class of endpoints: models that can be opened and asked, wherever they run.

A subclass must define ``complete``; the rest has defaults that suit a paid API: calls are held to its limits and to the
budget, counted, and repeated after a temporary error. ``BUILT_IN`` lists our own types; a config names any other by its
import path (``type: my_lab.endpoints:Mine``), which needs no change here.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec import Struct

from weak2wise.config import EndpointSettings, EngineOptions
from weak2wise.errors import ConfigError, RecordError
from weak2wise.llm.admission import Admitted
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.limits.limiter import Limiter
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Model, Prompt, Usage
from weak2wise.llm.retry import Retried
from weak2wise.llm.worst_case import WorstCase
from weak2wise.plugins import load_object
from weak2wise.telemetry.redaction import answer_redactor, message_redactor

BUILT_IN = {
    "openai": "weak2wise.llm.http.openai:OpenAIModel",
    "vllm": "weak2wise.llm.vllm.model:VllmModel",
    "transformers": "weak2wise.llm.vllm.model:VllmModel",
}

MAX_RETRIES = 6
"""Of one call, where a kind of endpoint does not say otherwise."""


@dataclass(frozen=True)
class HostParts:
    """What an endpoint gets from its host; the defaults suit an endpoint used without a host."""

    limits: Limiter | None = None
    """Limits shared with other endpoints, if any; ``None``: its own."""
    budget: CostBudget = field(default_factory=CostBudget)
    log_file: Path | None = None
    """Where an embedded engine's output goes."""
    wait_for_off_peak: bool = False
    """``engine.wait_for_off_peak``."""
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Load(NamedTuple):
    """How busy an endpoint is: calls ``in_flight`` of at most ``limit``, and calls ``waiting`` for a free place.

    ``down``: seconds for which it has been down, ``None`` if it is up. ``paced``: requests a minute if that rate, and
    not ``limit``, is what holds calls back. ``held``: calls held back until ``held_until``, for off-peak prices.
    """

    in_flight: int = 0
    limit: int = 0
    waiting: int = 0
    down: float | None = None
    paced: float | None = None
    held: int = 0
    held_until: datetime | None = None


class Inspection(Struct, frozen=True):
    """What is known about an endpoint without sending it a request; ``said`` says it to the user."""

    verdict: Literal["good", "warning", "bad"]
    said: str


class Endpoint(ABC):
    """Base class of all kinds of endpoint. ``open`` before the first call; ``close`` also after a failed ``open``.

    Args:
        name: what the config calls it.
        settings: its section of the config.
        parts: what it gets from its host.
    """

    embedded: ClassVar[bool] = False
    """Whether it runs on this machine: calls cost nothing, and free places may be used for speculative calls."""

    def __init__(self, name: str, settings: Any, parts: HostParts | None = None) -> None:
        self.name = name
        self.settings = settings
        self.meter = Meter()
        self.parts = parts or HostParts()
        secrets = settings.secret_values(self.parts.env)
        self.redact = message_redactor(secrets)
        """Removes this endpoint's secrets from a message, before that is shortened, logged or kept."""
        self.redact_answer = answer_redactor(secrets)
        """Removes them from a model's text, before that is kept."""
        self.limits: Limiter = self.parts.limits or Limits.of(name, settings.limits)
        """How much may be asked of it at once and in a minute; an embedded one has room of its own instead."""
        self.worst_case = WorstCase(name, self.cost, settings.longest_answer)
        """The most that one of its calls may cost."""

    @classmethod
    def check(cls, name: str, settings: Any) -> None:
        """Check before a run what can be checked without opening anything. Raises ``ConfigError``."""
        del name, settings

    @classmethod
    def check_logprobs(cls, name: str, settings: Any) -> None:
        """Check whether it can say how likely a given text is (``Prompt.continuation``).

        Raises:
            ConfigError: it cannot; most kinds of endpoint can only sample.
        """
        del settings
        raise ConfigError(
            f"models.mweak: {name} cannot say how likely a given text is, as this scorer asks; the embedded vLLM can "
            "(type: vllm). With this endpoint choose another params.scorer"
        )

    @classmethod
    def inspect(cls, name: str, settings: Any) -> Inspection:
        """Look at an embedded model without loading it, for ``check``. Blocks."""
        del name, settings
        return Inspection("good", "an embedded model; pass --load to load it")

    async def open(self) -> None:  # noqa: B027 - not every kind needs it
        """Get ready for calls. Raises ``ConfigError`` or ``RunStopped``."""

    async def close(self) -> None:  # noqa: B027 - not every kind needs it
        """Release what ``open`` acquired."""

    @abstractmethod
    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer one prompt, in one attempt. Raises the errors in ``weak2wise.llm.errors``."""

    async def offers(self) -> Mapping[str, date | None]:
        """The models that it says it has, each with the day on which it is switched off if that is set; for ``check``.

        Empty where it does not say.
        """
        return {}

    def admitted(self) -> Model:
        """The same model, held to its limits and to the budget."""
        return Admitted(
            model=self,
            limits=None if self.embedded else self.limits,
            budget=self.parts.budget,
            meter=self.meter,
            cost=self.cost,
            worst_case=self.worst_case,
            longest_answer=self.settings.longest_answer,
            redact=self.redact,
        )

    def resilient(self, options: EngineOptions) -> Model:
        """The same model with its limits, made to survive faults by retries or restarts."""
        del options
        return Retried(self.admitted(), max_retries=MAX_RETRIES)

    def cost(self, usage: Usage) -> float:
        """US dollars for a call."""
        full = self.settings.cost(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) or 0.0
        return full * usage.price_factor if full else 0.0

    def load(self) -> Load:
        """How busy it is now. An embedded endpoint that knows better says so itself."""
        if self.embedded:
            return Load()
        return Load(in_flight=self.limits.in_flight, limit=self.limits.size)

    def free(self) -> int:
        """How many more calls an embedded model could work on now; negative if calls are waiting."""
        load = self.load()
        return load.limit - load.in_flight - load.waiting

    def hint(self, error: RecordError) -> str:
        """What the user should check after this error, for ``check``; empty if there is nothing to add."""
        del error
        return ""


def endpoint_class(name: str, settings: EndpointSettings) -> type[Endpoint]:
    """The class for an endpoint's ``type``.

    Raises:
        ConfigError: it cannot be loaded.
    """
    if settings.type in BUILT_IN:
        module, _, attribute = BUILT_IN[settings.type].partition(":")
        built_in: type[Endpoint] = getattr(import_module(module), attribute)
        return built_in
    return load_object(settings.type, f"model_endpoints.{name}.type", Endpoint)
