"""What an endpoint charges: ``prices``, and the hours at which it is less, ``prices.off_peak``."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo

from msgspec import Meta

from weak2wise.config.section import Name, Price, Section
from weak2wise.errors import ConfigError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "|".join(_DAYS)
_SPAN = re.compile(rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?\s+)?(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_IN_DAY = 24 * 60
_IN_WEEK = 7 * _IN_DAY


class OffPeak(Section, frozen=True, kw_only=True):
    """The hours at which less is charged. A call counts by the minute at which it was sent."""

    section = "model_endpoints.*.prices.off_peak"

    factor: Annotated[float, Meta(gt=0, lt=1)]
    """The share of the prices that is charged outside the ``peak`` hours."""
    peak: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """The hours of full prices: ``mon-fri 01:00-04:00``, ``sat 22:00-02:00``, or ``09:00-18:00`` for every day."""
    zone: Name = "UTC"
    """The clock that they go by: ``UTC``, ``Asia/Shanghai``."""

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        try:
            _zone(self.zone)
        except (OSError, ValueError, LookupError):  # what a name that is none, a folder or a path may raise
            raise ConfigError(
                f"{self._key('zone')}: {self.zone}: no such time zone, or this machine has no list of them (tzdata)"
            ) from None
        for span in self.peak:
            if not _minutes(span):
                raise ConfigError(f"{self._key('peak')}: expected hours such as mon-fri 01:00-04:00, found {span!r}")
        if len(_peak(self.peak)) == _IN_WEEK:
            raise ConfigError(f"{self._key('peak')}: expected hours that leave some of the week off-peak")

    def factor_at(self, at: datetime) -> float:
        """The share of the prices that a call costs which is sent then."""
        return 1.0 if self.ends(at) else self.factor

    def ends(self, at: datetime) -> datetime | None:
        """When the peak hours end that it is at ``at``; ``None`` if it is off-peak."""
        local, peak = at.astimezone(_zone(self.zone)), _peak(self.peak)
        minute = local.weekday() * _IN_DAY + local.hour * 60 + local.minute
        if minute not in peak:
            return None
        left = next(later for later in range(1, _IN_WEEK) if (minute + later) % _IN_WEEK not in peak)
        return at.replace(second=0, microsecond=0) + timedelta(minutes=left)

    @property
    def share(self) -> float:
        """The part of a week that is off-peak."""
        return 1 - len(_peak(self.peak)) / _IN_WEEK


class Prices(Section, frozen=True, kw_only=True):
    """US dollars per million tokens."""

    section = "model_endpoints.*.prices"

    input: Price = 0.0
    """Of the prompt."""
    cached_input: Price | None = None
    """Of the part of the prompt that the provider had in its cache. Left out: as ``input``."""
    output: Price = 0.0
    """Of the answer, thinking included."""
    off_peak: OffPeak | None = None
    """The hours at which less is charged."""
    as_of: date | None = None
    """When they were looked up (2026-11-26). ``check`` warns when that is more than 90 days ago."""

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """US dollars for one call in peak hours; ``prompt_tokens`` include the cached ones."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * cached + completion_tokens * self.output) / 1e6


NO_PRICES = Prices()


@cache
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


@cache
def _peak(spans: tuple[str, ...]) -> frozenset[int]:
    """The minutes of a week, from Monday 00:00, that are peak."""
    return frozenset(minute for span in spans for minute in _minutes(span))


def _minutes(span: str) -> set[int]:
    """The minutes of a week in a span, which may go past midnight; empty if it cannot be read."""
    found = _SPAN.fullmatch(span.strip().lower())
    if not found:
        return set()
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups()[2:])
    begin, end = 60 * from_hour + from_minute, 60 * to_hour + to_minute
    if from_hour > 23 or max(from_minute, to_minute) > 59 or end > _IN_DAY:
        return set()
    if end <= begin:
        end += _IN_DAY
    first = _DAYS.index(found["first"]) if found["first"] else 0
    last = _DAYS.index(found["last"]) if found["last"] else first if found["first"] else 6
    days = range(first, last + 1 if last >= first else last + 8)
    return {(day * _IN_DAY + minute) % _IN_WEEK for day in days for minute in range(begin, end)}
