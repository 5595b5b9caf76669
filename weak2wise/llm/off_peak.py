"""Holds calls back until the provider's off-peak hours (``engine.wait_for_off_peak``).

All calls that are held share one timer and are let go together. A call that is held holds nothing itself: no place of
its endpoint's limits, no money. Being held is no fault: no time-out runs and no attempt is counted.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from weak2wise.config.prices import OffPeak
from weak2wise.telemetry.log import host_log

LONGEST_TIMER = 300.0
"""Seconds. A timer does not see a machine that sleeps, or a clock that is set."""


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class OffPeakBarrier:
    """Shut in peak hours.

    Args:
        endpoint: its name, for the log.
        hours: when it is shut.
        now: the clock.
    """

    def __init__(self, endpoint: str, hours: OffPeak, now: Callable[[], datetime] = utc_now) -> None:
        self.held = 0
        """Calls that wait."""
        self._endpoint = endpoint
        self._hours = hours
        self._now = now
        self._open: asyncio.Event | None = None
        """Set when it opens, while calls wait."""

    @property
    def opens(self) -> datetime | None:
        """When it opens; ``None`` if it is open."""
        return self._hours.ends(self._now())

    async def wait(self) -> None:
        """Wait until it is open."""
        while until := self.opens:
            if self._open is None:
                self._open = asyncio.Event()
                host_log.info("endpoint.held", endpoint=self._endpoint, until=until.isoformat(), why="peak hours")
                self._set_timer(until)
            self.held += 1
            try:
                await self._open.wait()
            finally:
                self.held -= 1

    def _set_timer(self, until: datetime) -> None:
        seconds = (until - self._now()).total_seconds()
        asyncio.get_running_loop().call_later(min(max(seconds, 0.0), LONGEST_TIMER), self._look)

    def _look(self) -> None:
        assert self._open
        if self.held and (until := self.opens):
            self._set_timer(until)
            return
        self._open.set()
        self._open = None
