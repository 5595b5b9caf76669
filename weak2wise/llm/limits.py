"""What an endpoint may be asked at once and per minute, and the pause it asks for after a 429.

The in-flight limit stands outside and the rates inside, and requests wait for a rate one at a time: asyncio-throttle
polls for each waiter, so behind a limit of 64 in flight it costs next to nothing and in front of one it costs a core.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncio_throttle import Throttler


class TokenBudget:
    """Tokens per minute as a leaky bucket; a request is charged the running mean, then settled by what it used."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = per_minute
        self._left = per_minute
        self._filled_at = time.monotonic()
        self._mean = 0.0

    async def charge(self) -> float:
        """Wait until the mean request fits and charge it; returns what was charged."""
        while True:
            now = time.monotonic()
            self._left = min(self._capacity, self._left + (now - self._filled_at) * self._rate)
            self._filled_at = now
            charged = min(self._mean, self._capacity)
            if self._left >= charged and self._left > 0:
                self._left -= charged
                return charged
            await asyncio.sleep(max(charged - self._left, 1) / self._rate)

    def settle(self, charged: float, used: int) -> None:
        """Correct a charge once the true number of tokens is known."""
        self._mean = used if self._mean == 0 else 0.9 * self._mean + 0.1 * used
        self._left += charged - used


class Limits:
    """One endpoint's in-flight limit, request rate, token rate and cooldown."""

    FIRST_PAUSE = 1.0
    LONGEST_PAUSE = 60.0

    def __init__(
        self, *, in_flight: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self._slots = asyncio.Semaphore(in_flight)
        self._turn = asyncio.Lock()
        # Windows of about a second keep bursts short; a slow rate gets one request per window.
        burst = max(1, round((requests_per_minute or 0) / 60))
        self._throttler = (
            Throttler(rate_limit=burst, period=60 * burst / requests_per_minute) if requests_per_minute else None
        )
        self._tokens = TokenBudget(tokens_per_minute) if tokens_per_minute else None
        self._paused_until = 0.0
        self._pause = self.FIRST_PAUSE
        self.in_flight = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator["Slot"]:
        """Wait for leave to send one request; the request is in flight while the context is open."""
        async with self._slots:
            if self._throttler or self._tokens or self._paused_until:
                charged = await self._wait_for_rates()
            else:
                charged = 0.0
            self.in_flight += 1
            slot = Slot()
            try:
                yield slot
            finally:
                self.in_flight -= 1
                if self._tokens:
                    self._tokens.settle(charged, slot.tokens)

    async def _wait_for_rates(self) -> float:
        async with self._turn:
            while (pause := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - no polling: it may grow
                await asyncio.sleep(pause)
            self._paused_until = 0.0
            if self._throttler:
                await self._throttler.acquire()
            return await self._tokens.charge() if self._tokens else 0.0

    def cool_down(self, retry_after: float | None) -> None:
        """A 429 arrived: nobody sends before ``retry_after`` seconds, or a growing guess where it said nothing."""
        now = time.monotonic()
        if retry_after is None:
            if self._paused_until > now:  # this burst is being waited out already
                return
            retry_after = self._pause * random.uniform(1.0, 1.25)
            self._pause = min(2 * self._pause, self.LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, now + retry_after)

    def succeeded(self) -> None:
        """An answer arrived: the next guess starts small again."""
        self._pause = self.FIRST_PAUSE


class Slot:
    """One request in flight; the caller leaves here how many tokens it used."""

    def __init__(self) -> None:
        self.tokens = 0
