"""Where one endpoint's calls go: its replicas, each behind a circuit breaker.

A replica that fails several times running is *down*: no call goes there until it is time to probe it, by one call that
is like any other. The probe's success brings it back, its failure makes the next probe come later. While all replicas
are down calls wait, since an outage of minutes should cost no question; but not for ever, since other models go on.
"""

import asyncio
import random
import time
from collections.abc import Sequence

import structlog

from weak2wise.llm.errors import Down

RUN_ALONE, RUN_AMONG_OTHERS = 20, 5
"""So many failures without a success make a replica down: fewer where others can take over,"""
SLOW_RUN, SLOW_SECONDS = 5, 10.0
"""or so few, if they took so long."""
FIRST_PROBE, LAST_PROBE = 1.0, 60.0
"""Seconds from being down to the first probe, and the longest from one to the next."""

log = structlog.get_logger()


class Replica:
    """One address and how it fares."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.in_flight = 0
        self.failures = 0
        self.failing_since = 0.0
        self.down = False
        self.probing = False
        self.probe_at = 0.0
        self.pause = FIRST_PROBE


class Replicas:
    """The replicas of one endpoint; at least one."""

    def __init__(self, name: str, urls: Sequence[str], patience: float) -> None:
        self._name = name
        self._replicas = [Replica(url) for url in urls]
        self._run = RUN_ALONE if len(urls) == 1 else RUN_AMONG_OTHERS
        self._patience = patience
        self._last_reply = time.monotonic()
        self._changed = asyncio.Event()

    async def ready(self) -> None:
        """Wait until there is somewhere to go.

        Raises:
            Down: there has been nowhere for too long.
        """
        while not self._choice(now := time.monotonic()):
            left = self._last_reply + self._patience - now
            if left <= 0:
                since = now - self._last_reply
                raise Down(f"{self._name}: down, no reply for {since:,.0f} s", endpoint=self._name)
            wait = min((r.probe_at - now for r in self._replicas if not r.probing), default=left)
            try:
                async with asyncio.timeout(max(0.01, min(left, wait))):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def take(self) -> Replica | None:
        """Where the next call goes; ``None`` if there is nowhere any more. To be given back by ``give_back``."""
        replica = self._choice(time.monotonic())
        if replica:
            replica.in_flight += 1
            replica.probing = replica.down
        return replica

    def _choice(self, now: float) -> Replica | None:
        if len(self._replicas) == 1 and not self._replicas[0].down:
            return self._replicas[0]
        for replica in self._replicas:
            if replica.down and not replica.probing and now >= replica.probe_at:
                return replica
        return min((r for r in self._replicas if not r.down), key=lambda r: r.in_flight, default=None)

    def give_back(self, replica: Replica, *, replied: bool | None) -> None:
        """A call is over; ``replied`` is ``None`` where it says nothing about the replica's health."""
        replica.in_flight -= 1
        now = time.monotonic()
        probed, replica.probing = replica.probing, False
        if replied:
            self._last_reply = now
            replica.failures, replica.pause = 0, FIRST_PROBE
            if replica.down:
                replica.down = False
                log.warning("endpoint.up", endpoint=self._name, base_url=replica.url)
        elif replied is False:
            replica.failing_since = replica.failing_since if replica.failures else now
            replica.failures += 1
            slow = replica.failures >= SLOW_RUN and now - replica.failing_since >= SLOW_SECONDS
            if probed or (not replica.down and (slow or replica.failures >= self._run)):
                self._bring_down(replica, now)
        if replica.down or probed:
            self._changed.set()  # whoever waits looks again
            self._changed = asyncio.Event()

    def _bring_down(self, replica: Replica, now: float) -> None:
        if not replica.down:
            log.warning("endpoint.down", endpoint=self._name, base_url=replica.url, failures=replica.failures)
        replica.down = True
        replica.probe_at = now + replica.pause * random.uniform(1.0, 1.25)
        replica.pause = min(2 * replica.pause, LAST_PROBE)
