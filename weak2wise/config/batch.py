"""How an endpoint's calls are sent in batches: ``batch`` of an endpoint."""

from typing import Any

from weak2wise.config.section import DURATION_SAID, LARGEST, Count, Duration, Natural, Section
from weak2wise.errors import ConfigError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds_of(text: Duration, key: str) -> float:
    """The seconds of a duration. Raises ``ConfigError``, naming the key."""
    number = text.strip().rstrip("dhimns")
    try:
        seconds = float(number) * _SECONDS[text.strip().removeprefix(number)]
    except (ValueError, KeyError):
        raise ConfigError(f"{key}: {DURATION_SAID}") from None
    if not 0 < seconds <= LARGEST:
        raise ConfigError(f"{key}: {DURATION_SAID}, more than nothing")
    return seconds


class Batch(Section, frozen=True, kw_only=True):
    """Calls are sent as files of requests, for the price of the provider's batch API (OpenAI's files and batches).

    Durations: ``200ms``, ``60s``, ``10m``, ``24h``, ``7d``.
    """

    section = "model_endpoints.*.batch"

    max_requests: Count = 10_000
    """A batch is sent when it has so many requests."""
    max_wait: Duration = "10m"
    """It is also sent when its first request has waited so long, or when the run can go on with nothing else."""
    poll: Duration = "60s"
    """How often a batch is looked at."""
    window: Duration = "24h"
    """What the provider is asked to keep to, as it is written here."""
    after: Natural = 0
    """The first so many rows of the input are asked by ordinary calls, so that something is seen early."""
    finish_by: Duration | None = None
    """A batch that is not back after so long is cancelled, and what it has not answered is asked by ordinary calls."""

    def _checked(self, name: str, kind: Any, key: str) -> Any:
        value = super()._checked(name, kind, key)
        if isinstance(value, str):
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
