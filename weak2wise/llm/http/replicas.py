"""The replicas of one endpoint, each behind a circuit breaker.

A replica that fails several times in a row is *down*: it gets no calls but probes, which are ordinary calls, each
after a longer pause than the one before. Any reply to a probe brings the replica back. The pauses count from when a
probe is sent, not from when it ends: one that hangs until its time-out must not hold back the next, since the replica
may answer again. While all replicas are down, calls wait, since an outage of minutes should not make questions fail.
They do not wait forever, since other models may go on: the time counts from when the last replica went down. It does
not end before a probe has failed, nor while one is under way that was sent in that time, because a slow answer is still
an answer. Such a probe ends with its own time-out at the latest, and later ones do not extend the time.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from weak2wise.llm.errors import Down
from weak2wise.llm.homes import homes
from weak2wise.telemetry.log import host_log

RUN_ALONE, RUN_AMONG_OTHERS = 20, 5
"""A replica is down after this many failures in a row: fewer if others can take over,"""
SLOW_RUN, SLOW_SECONDS = 5, 10.0
"""or this few, if they took at least that many seconds."""
SLACK = 8
"""Calls of one row go to one replica, whose prefix cache then has what they share, as long as it has at most an eighth
more in flight than the one with the fewest."""
FIRST_PROBE, LAST_PROBE = 1.0, 60.0
"""Seconds from going down to the first probe, and at most between two probes."""


class Replica:
    """One address and its state."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.in_flight = 0
        self.failures = 0
        self.failing_since = 0.0
        self.down = False
        self.probes: set[Visit] = set()
        """The probes under way since it went down."""
        self.probe_at = 0.0
        self.pause = FIRST_PROBE


class Visit(NamedTuple):
    """A call's permission to use a replica since ``sent_at``; a ``probe`` checks whether it is still down."""

    replica: Replica
    probe: bool
    sent_at: float


class Replicas:
    """The replicas of one endpoint; at least one."""

    def __init__(self, name: str, urls: Sequence[str], outage_patience: float) -> None:
        self._name = name
        self._replicas = [Replica(url) for url in urls]
        self._run = RUN_ALONE if len(urls) == 1 else RUN_AMONG_OTHERS
        self._outage_patience = outage_patience
        self._down_since = time.monotonic()
        """When the last replica went down, while all are."""
        self._cause = ""
        self._probed = False
        """Whether a probe has failed since then."""
        self._changed = asyncio.Event()

    @property
    def down_for(self) -> float | None:
        """Seconds for which all replicas have been down; ``None`` if one is up."""
        down = all(replica.down for replica in self._replicas)
        return time.monotonic() - self._down_since if down else None

    @property
    def available(self) -> bool:
        """Whether a replica can take a call."""
        return self._choice(time.monotonic()) is not None

    async def ready(self, *, wait: bool) -> None:
        """Wait until a replica can take a call; without ``wait``, only check.

        Raises:
            Down: none could for too long, or ``wait`` is off and none can.
        """
        while not self._choice(now := time.monotonic()):
            end = self._down_since + self._outage_patience
            probes = [probe for replica in self._replicas for probe in replica.probes]
            undecided = not self._probed or any(probe.sent_at < end for probe in probes)
            left = float("inf") if undecided else end - now
            if left <= 0 or not wait:
                since = now - self._down_since
                raise Down(f"{self._name}: down for {since:,.0f} s; {self._cause}", endpoint=self._name)
            pause = min(left, *(replica.probe_at - now for replica in self._replicas))
            try:
                async with asyncio.timeout(max(0.01, pause)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def take(self, row: int = 0) -> Visit | None:
        """The replica for the next call of this row, ``None`` if none is left; return it with ``give_back``."""
        now = time.monotonic()
        replica = self._choice(now, row)
        if replica is None:
            return None
        replica.in_flight += 1
        visit = Visit(replica, replica.down, now)
        if visit.probe:
            replica.probes.add(visit)
            self._probe_later(replica, now)
        return visit

    def _choice(self, now: float, row: int = 0) -> Replica | None:
        if len(self._replicas) == 1 and not self._replicas[0].down:
            return self._replicas[0]
        for replica in self._replicas:
            if replica.down and now >= replica.probe_at:
                return replica
        up = [replica for replica in self._replicas if not replica.down]
        if not up:
            return None
        idlest = min(up, key=lambda replica: replica.in_flight)
        most = idlest.in_flight + idlest.in_flight // SLACK
        return next((up[home] for home in homes(row, len(up)) if up[home].in_flight <= most), idlest)

    def give_back(self, visit: Visit, *, replied: bool | None, cause: str = "") -> bool:
        """A call is over.

        Args:
            visit: what ``take`` gave.
            replied: ``False`` if the replica did not answer; ``None`` if the call was cancelled, which shows nothing.
            cause: what went wrong, in words.

        Returns:
            Whether no replica can take a call now.
        """
        replica = visit.replica
        replica.in_flight -= 1
        now = time.monotonic()
        is_probe = visit in replica.probes
        replica.probes.discard(visit)
        if replied:
            replica.failures = 0
            if replica.down:
                replica.down, replica.pause = False, FIRST_PROBE
                replica.probes.clear()  # those that still hang are ordinary calls from now on
                host_log.warning("endpoint.up", endpoint=self._name, base_url=replica.url)
        elif replied is False:
            replica.failing_since = replica.failing_since if replica.failures else now
            replica.failures += 1
            slow = replica.failures >= SLOW_RUN and now - replica.failing_since >= SLOW_SECONDS
            if is_probe:
                self._probed = True
            elif not replica.down and (slow or replica.failures >= self._run):
                self._bring_down(replica, now, cause)
        elif is_probe:
            replica.probe_at = now  # it showed nothing: the next call may be the probe in its place
        if replica.down or visit.probe:
            self._changed.set()  # waiting calls check again
            self._changed = asyncio.Event()
        return not self.available

    def _bring_down(self, replica: Replica, now: float, cause: str) -> None:
        host_log.warning(
            "endpoint.down", endpoint=self._name, base_url=replica.url, failures=replica.failures, cause=cause[:200]
        )
        replica.down = True
        self._down_since, self._cause, self._probed = now, cause, False
        self._probe_later(replica, now)

    def _probe_later(self, replica: Replica, now: float) -> None:
        replica.probe_at = now + replica.pause * random.uniform(1.0, 1.25)
        replica.pause = min(2 * replica.pause, LAST_PROBE)
