"""What an endpoint is: a model that can be opened and asked, whatever it runs on.

Only ``complete`` has to be written; the rest has a default that suits a model behind a call that costs money. The kinds
that come with us are named in ``BUILT_IN``; any other is named in the config by its import path
(``type: my_lab.endpoints:Mine``) and needs no change here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from msgspec import Struct

from weak2wise.config import EndpointSettings, EngineOptions
from weak2wise.errors import RecordError
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Model, Prompt, Usage
from weak2wise.plugins import load_object

BUILT_IN = {
    "openai": "weak2wise.llm.http.openai:OpenAIModel",
    "vllm": "weak2wise.llm.vllm.model:VllmModel",
    "transformers": "weak2wise.llm.vllm.model:VllmModel",
}


@dataclass(frozen=True)
class HostParts:
    """What a host lends to an endpoint; each has a default for an endpoint that is used by itself."""

    limits: Limits | None = None
    """Its own unless it shares them with other endpoints."""
    budget: CostBudget = field(default_factory=CostBudget)
    log_file: Path | None = None
    """Where an embedded engine's output goes."""
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Load(NamedTuple):
    """How busy an endpoint is: calls ``in_flight`` of at most ``limit``, and calls ``waiting`` for one of these places.

    ``down``: seconds without any answer. ``paced``: requests a minute, where the rate and not ``limit`` holds them
    back.
    """

    in_flight: int = 0
    limit: int = 0
    waiting: int = 0
    down: float | None = None
    paced: float | None = None


class Inspection(Struct, frozen=True):
    """What was seen of an endpoint without asking it."""

    verdict: Literal["good", "warning", "bad"]
    said: str


class Endpoint:
    """Base class of all kinds of endpoint. ``open`` before the first call; ``close`` also after a failed ``open``.

    Args:
        name: what the config calls it.
        settings: its section of the config.
        parts: what its host lends it.
    """

    embedded: ClassVar[bool] = False
    """Whether it runs on this machine: calls cost nothing, and free places may be used for guesses ahead."""

    def __init__(self, name: str, settings: Any, parts: HostParts | None = None) -> None:
        self.name = name
        self.settings = settings
        self.meter = Meter()
        self.parts = parts or HostParts()

    @classmethod
    def check(cls, name: str, settings: Any) -> None:
        """See what can be known before a run without opening anything. Raises ``ConfigError``."""
        del name, settings

    @classmethod
    def inspect(cls, name: str, settings: Any) -> Inspection:
        """Look at an embedded model without loading it, for ``check``. Blocks."""
        del name, settings
        return Inspection("good", "an embedded model; pass --load to load it")

    async def open(self) -> None:
        """Get ready for calls. Raises ``ConfigError`` or ``RunStopped``."""

    async def close(self) -> None:
        """Let go of what ``open`` took."""

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer one prompt, in one attempt. Raises as ``weak2wise.llm.errors`` has it."""
        raise NotImplementedError

    def lasting(self, options: EngineOptions) -> Model:
        """The same model with what it takes to outlast faults: retries, restarts."""
        del options
        return self

    def cost(self, usage: Usage) -> float:
        """US dollars for a call."""
        return self.settings.cost(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) or 0.0

    def load(self) -> Load:
        """How busy it is now."""
        return Load()

    def free(self) -> int:
        """Of an embedded model: how many calls more it would work on at once; negative if some wait already."""
        load = self.load()
        return load.limit - load.in_flight - load.waiting

    def hint(self, error: RecordError) -> str:
        """What the user may look at after this error, for ``check``; empty if there is nothing to add."""
        del error
        return ""


def endpoint_class(name: str, settings: EndpointSettings) -> type[Endpoint]:
    """The class behind an endpoint's ``type``.

    Raises:
        ConfigError: it cannot be loaded.
    """
    if settings.type in BUILT_IN:
        module, _, attribute = BUILT_IN[settings.type].partition(":")
        built_in: type[Endpoint] = getattr(import_module(module), attribute)
        return built_in
    return load_object(settings.type, f"model_endpoints.{name}.type", Endpoint)
