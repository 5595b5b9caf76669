"""A strict provider in virtual time, and hosts that ask it over a desk."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from weak2wise.llm.desk.client import DeskClient
from weak2wise.llm.desk.desk import Desk
from weak2wise.llm.limits.call_sizes import CallSizes


class Provider:
    """Refuses what exceeds its limits, in flight or in any 60 seconds, and counts."""

    def __init__(self, *, in_flight: int = 10**9, per_minute: int = 10**9, usd: float = 0.0) -> None:
        self.most_in_flight, self.most_in_a_minute = 0, 0
        self.accepted = self.refused = 0
        self.charged = 0.0
        self._in_flight, self._per_minute, self._usd = in_flight, per_minute, usd
        self._now = 0
        self._last: deque[float] = deque()

    async def ask(self, seconds: float) -> bool:
        """A request that takes so long; whether it was answered. It goes on when its client is gone."""
        return await asyncio.shield(asyncio.create_task(self._serve(seconds)))

    async def _serve(self, seconds: float) -> bool:
        now = time.monotonic()
        while self._last and self._last[0] <= now - 60:
            self._last.popleft()
        if self._now >= self._in_flight or len(self._last) >= self._per_minute:
            self.refused += 1
            return False
        self._last.append(now)
        self._now += 1
        self.accepted += 1
        self.most_in_flight = max(self.most_in_flight, self._now)
        self.most_in_a_minute = max(self.most_in_a_minute, len(self._last))
        await asyncio.sleep(seconds)
        self._now -= 1
        self.charged += self._usd
        return True


class Host:
    """Asks as many as it is let, each at most ``most_usd`` and in truth half of that."""

    def __init__(self, desk: Desk, name: str, *, max_usd: float | None = None, most_usd: float = 0.0) -> None:
        self.client = DeskClient(name, desk.visit, max_usd)
        self.limits = self.client.limits("end")
        self.answered = 0
        self.wanted = True
        self._most_usd = most_usd
        self._sizes = CallSizes(1000, "strong")

    async def call(self, provider: Provider, seconds: float, pause: float | None = None) -> None:
        """One request until it is answered or not wanted any more, as an endpoint makes it."""
        reservation = self.client.budget.reservation("end", self._most_usd)
        try:
            while self.wanted:
                slot = await self.limits.acquire(self._sizes, 10.0, wanted=lambda: self.wanted, reservation=reservation)
                if slot is None:
                    continue
                try:
                    if await provider.ask(seconds):
                        reservation.settle(self._most_usd / 2)
                        slot.answered(100)
                        self.answered += 1
                        return
                    slot.refused(pause)
                finally:
                    slot.release()
        finally:
            reservation.release()


@asynccontextmanager
async def hosts_at(
    desk: Desk, count: int, *, max_usd: float | None = None, most_usd: float = 0.0
) -> AsyncIterator[list[Host]]:
    """So many hosts that visit the desk."""
    hosts = [Host(desk, f"host-{number}", max_usd=max_usd, most_usd=most_usd) for number in range(count)]
    running = [asyncio.create_task(host.client.run()) for host in hosts]
    try:
        yield hosts
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
