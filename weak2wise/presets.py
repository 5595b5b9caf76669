"""What is known of providers (``presets.toml``): models, prices, parameters, and the date of each fact."""

from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

STALE_DAYS = 90
"""Prices and names older than this are worth another look."""


class KnownPrices(Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | None = None
    off_peak: dict[str, Any] | None = None
    """As ``prices.off_peak`` of a config."""


class Lane(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A slower way to send the same calls; the keys are described in ``presets.toml``."""

    factor: float
    request_timeout: float
    source: str
    body: dict[str, Any] = field(default_factory=dict)
    base_url: str | None = None
    stream: bool | None = None
    hosts: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()


class BatchApi(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files and batches as OpenAI has them, and what a provider does otherwise; the keys: ``presets.toml``."""

    factor: float = 1.0
    max_requests: int = 50_000
    max_mb: int = 100
    purpose: str = "batch"
    upload: str = "files"
    url: str = "/v1/chat/completions"
    body: dict[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    source: str = ""
    unverified: tuple[str, ...] = ()


class KnownModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider's model; the keys are described in ``presets.toml``."""

    model: str
    source: str
    thinking: Literal["shown", "hidden", "off"]
    prices: KnownPrices | None = None
    stream: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    refuses: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    renames: dict[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()

    def extra_body(self, max_tokens: int) -> dict[str, Any]:
        """What ``extra_body`` has to say to this model: parameters to add, and ``None`` for those to leave out."""
        found: dict[str, Any] = dict.fromkeys((*self.refuses, *self.renames))
        if (name := self.renames.get("max_tokens")) is not None:
            found[name] = max_tokens
        return found | self.body


class Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider."""

    about: str
    base_url: str
    looked_up: date
    remark: str
    strong: KnownModel
    helper: KnownModel
    key: str | None = None
    retired: dict[str, date] = field(default_factory=dict)
    lanes: dict[str, Lane] = field(default_factory=dict)
    batch: BatchApi | None = None

    def known(self, model: str) -> KnownModel | None:
        """What is known of one of its models."""
        return next((known for known in (self.strong, self.helper) if known.model == model), None)


@cache
def presets() -> dict[str, Preset]:
    """All providers by name."""
    text = (files("weak2wise") / "presets.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Preset])


def lane_for(base_url: str, name: str) -> Lane | None:
    """A lane of the provider that is asked at an address, if it is known to have it."""
    if (preset := preset_for(base_url)) and name in preset.lanes:
        return preset.lanes[name]
    host = urlsplit(base_url).hostname or ""
    lanes = (found for preset in presets().values() if (found := preset.lanes.get(name)))
    return next((lane for lane in lanes if lane.hosts and host.endswith(lane.hosts)), None)


def batch_api_for(base_url: str) -> BatchApi | None:
    """The batch API at an address; ``None`` if a provider is known there that has none of this shape.

    An address that nobody knows is taken for OpenAI's shape, and its prices for those of its batches.
    """
    host = urlsplit(base_url).hostname or ""
    apis = (preset.batch for preset in presets().values() if preset.batch)
    if named := next((api for api in apis if api.hosts and host.endswith(api.hosts)), None):
        return named
    preset = preset_for(base_url)
    return preset.batch if preset else BatchApi()


def preset_for(base_url: str) -> Preset | None:
    """The provider that is asked at an address, if it is a known one."""
    return next((found for found in presets().values() if found.base_url == base_url.rstrip("/")), None)
