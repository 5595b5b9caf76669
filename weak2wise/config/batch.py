"""How an endpoint's calls are sent in batches: ``batch`` of an endpoint."""

import re
from typing import Any

from weak2wise.config.section import LARGEST, Count, Natural, Section
from weak2wise.errors import ConfigError

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)\s*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_of(text: object, key: str) -> float:
    """The seconds of a duration such as 200ms, 60s, 10m, 24h or 7d. Raises ``ConfigError``, naming the key."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) and len(text) < 40 else None
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= LARGEST:
        raise ConfigError(f"{key}: expected a duration such as 200ms, 60s, 10m, 24h or 7d, more than nothing")
    return seconds


class Batch(Section, frozen=True, kw_only=True):
    """Calls are sent as files of requests, for the price of the provider's batch API (OpenAI's files and batches).

    A batch is sent when it has ``max_requests``, when its first request has waited for ``max_wait``, or when the run
    can go on with nothing else. It is looked at every ``poll``. ``window``: what the provider is asked to keep to, as
    it is written here. ``after``: the first so many rows of the input are asked by ordinary calls, so that something
    is seen early. ``finish_by``: a batch that is not back after so long is cancelled, and what it has not answered is
    asked by ordinary calls.

    Durations: ``200ms``, ``60s``, ``10m``, ``24h``, ``7d``.
    """

    section = "model_endpoints.*.batch"

    max_requests: Count = 10_000
    max_wait: str = "10m"
    poll: str = "60s"
    window: str = "24h"
    after: Natural = 0
    finish_by: str | None = None

    def _checked(self, name: str, kind: Any, key: str) -> Any:
        if name in {"max_requests", "after"} or (value := getattr(self, name)) is None:
            return super()._checked(name, kind, key)
        seconds_of(value, key)
        return value

    @property
    def wait_seconds(self) -> float:
        """``max_wait``."""
        return seconds_of(self.max_wait, self._key("max_wait"))

    @property
    def poll_seconds(self) -> float:
        """``poll``."""
        return seconds_of(self.poll, self._key("poll"))

    @property
    def window_seconds(self) -> float:
        """``window``."""
        return seconds_of(self.window, self._key("window"))

    @property
    def finish_seconds(self) -> float | None:
        """``finish_by``."""
        return None if self.finish_by is None else seconds_of(self.finish_by, self._key("finish_by"))
