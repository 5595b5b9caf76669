"""What an endpoint may be asked at once and per minute: as configured, and below that as its 429s teach.

A configured limit is a ceiling; all of them hold together. Below the ceilings two limits adapt:

- The *concurrency*, how many requests are in flight (``adaptive_concurrency``). Of a burst of 429s one cuts it: those
  that answer requests sent before the cut do not cut again.
- The *rate*, learned from 429s (``adaptive_rate``). Where the rate was what held requests back, a 429 says nothing
  about the concurrency and leaves it alone.

A pause that a provider asks for holds for everybody. Nothing but a 429 makes any of this smaller. Who waits here waits
in one line; the head of it is let through by ``_pump``, which runs when something ends and when time is due, so that
waiting costs nothing, however many wait. Who has nowhere to go any more is sent away without having used anything up,
for others of the same key may. asyncio-throttle holds a configured rate whatever the learned one does; it polls for
each waiter and therefore gets one at a time, and seldom any, for the pace spaces requests already.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from asyncio_throttle import Throttler

from weak2wise.config.endpoints import LimitSettings
from weak2wise.llm.limits.adaptive_concurrency import AdaptiveConcurrency
from weak2wise.llm.limits.adaptive_rate import AdaptiveRate, Epoch
from weak2wise.llm.limits.token_bucket import TokenBucket
from weak2wise.telemetry.log import host_log

FIRST_WINDOW = 32
MOST_IN_FLIGHT = 1024
"""Where none is configured, and there are connections for so many (``weak2wise.llm.http.open_files``)."""
SHORTEST_TIMER = 0.002
"""Seconds; event loops count in milliseconds, and a timer of less would spin."""
LONG_PAUSE = 10.0
"""Seconds; a longer one is worth a line in the log."""


class Slot:
    """Leave to send one request; give it back by ``release``, whatever came of it."""

    def __init__(self, limits: "Limits", epoch: Epoch, number: int, sent_at: float, charged: float) -> None:
        self._limits = limits
        self.epoch = epoch
        self.number = number
        self.sent_at = sent_at
        self.charged = charged
        self.tokens = 0

    def answered(self, tokens: int) -> None:
        """A whole answer arrived that used so many tokens."""
        self.tokens = tokens
        self._limits.answered(tokens)

    def refused(self, retry_after: float | None) -> bool:
        """A 429 arrived, which may have said how many seconds to wait; whether it was the first of its burst."""
        return self._limits.refused(self, retry_after)

    def told(self, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """The reply said how many requests and tokens remain, and in how many seconds that is over."""
        self._limits.told(self, requests, tokens)

    def release(self) -> None:
        """The request is over."""
        self._limits.release(self)


class _Waiter(NamedTuple):
    """Somebody in the line, what it will use, and whether it would still go."""

    future: "asyncio.Future[Slot | None]"
    tokens: float
    wanted: Callable[[], bool]


class Limits:
    """The limits of one endpoint, or of several that share a key."""

    FIRST_PAUSE = 1.0
    LONGEST_GUESS = 60.0
    LONGEST_PAUSE = 3600.0
    """Whatever a server says, it is asked again after an hour."""

    def __init__(
        self,
        name: str = "",
        *,
        in_flight: int | None = None,
        most_in_flight: int = MOST_IN_FLIGHT,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        """What is configured, in requests and tokens; ``most_in_flight`` bounds what is found out instead."""
        self._name = name
        now = time.monotonic()
        self.concurrency = AdaptiveConcurrency(
            now, ceiling=in_flight or most_in_flight, first=in_flight or min(FIRST_WINDOW, most_in_flight)
        )
        self.rate = AdaptiveRate(now, requests_per_minute and requests_per_minute / 60)
        self.in_flight = 0
        # Windows of about a second keep bursts short; a slow rate gets one request per window.
        burst = max(1, round((requests_per_minute or 0) / 60))
        self._throttler = (
            Throttler(rate_limit=burst, period=60 * burst / requests_per_minute) if requests_per_minute else None
        )
        self._turn = asyncio.Lock()
        self._tokens = TokenBucket(now, tokens_per_minute) if tokens_per_minute else None
        self._mean_tokens = 0.0
        self._line: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._told = 0
        self._idle_since: float | None = None
        self._paused_until = 0.0
        self._pause = self.FIRST_PAUSE
        self._quota, self._quota_until = 0.0, 0.0

    @classmethod
    def of(cls, name: str, settings: LimitSettings, most_in_flight: int = MOST_IN_FLIGHT) -> "Limits":
        """The limits that settings ask for; ``most_in_flight`` where they do not say how many may be in flight."""
        return cls(
            settings.limit_group or name,
            in_flight=settings.max_concurrent_requests,
            most_in_flight=most_in_flight,
            requests_per_minute=settings.max_requests_per_minute,
            tokens_per_minute=settings.max_tokens_per_minute,
        )

    @property
    def pause_left(self) -> float:
        """Seconds for which the provider wants nothing."""
        return max(0.0, self._paused_until - time.monotonic())

    async def acquire(self, tokens: float = 0.0, wanted: Callable[[], bool] = lambda: True) -> Slot | None:
        """Wait for leave to send one request.

        Args:
            tokens: how many it may use at most, as long as nothing is known of the answers.
            wanted: whether it would still be sent; asked when its turn comes and in every ``sweep``.

        Returns:
            ``None`` if it is wanted no more.
        """
        slot = await self._next_slot(tokens, wanted)
        if slot and self._throttler:
            try:
                async with self._turn:
                    await self._throttler.acquire()
            except BaseException:
                slot.release()
                raise
        return slot

    async def _next_slot(self, tokens: float, wanted: Callable[[], bool]) -> Slot | None:
        now = time.monotonic()
        if self._idle_since is not None:
            self.rate.idled(self._idle_since, now)
            self._idle_since = None
        tokens = self._mean_tokens or tokens
        if not self._line and self._wait(now, tokens) <= 0:
            return self._grant(now, tokens)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), tokens, wanted)
        self._line.append(waiter)
        self._pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():  # let through and cancelled in the same moment
                slot = waiter.future.result()
                if slot:
                    slot.release()
            raise

    def sweep(self) -> None:
        """Send away who waits and is wanted no more."""
        for waiter in self._line:
            if not waiter.future.done() and not waiter.wanted():
                waiter.future.set_result(None)
        self._pump()

    def _wait(self, now: float, tokens: float) -> float:
        """Seconds until the next request may go, as far as one can tell; not above 0 if it may now."""
        if self.in_flight >= int(self.concurrency.size):
            if (overdue := self.concurrency.overdue(now)) > 0:
                return overdue
            self.concurrency.grow_unasked(now)
        if self._quota_until > now and self._sent >= self._quota:
            # Used up, as the server counts: the same as a 429, but that it cost no request.
            self._quota_until, until = 0.0, self._quota_until
            self._pause_until(until, now)
            self.rate.end_epoch(now, self._paused_until)
        wait = max(self._paused_until - now, self.rate.wait(now))
        return wait if self._tokens is None else max(wait, self._tokens.wait(now, tokens))

    def _pause_until(self, until: float, now: float) -> bool:
        """Nothing is to be sent before; whether that is longer than was known."""
        until = min(until, now + self.LONGEST_PAUSE)
        if until <= self._paused_until:
            return False
        if until - now > LONG_PAUSE and until - self._paused_until > LONG_PAUSE:
            host_log.warning("endpoint.pauses", endpoint=self._name, seconds=round(until - now, 1))
        self._paused_until = until
        return True

    def _grant(self, now: float, tokens: float) -> Slot:
        self.in_flight += 1
        self._sent += 1
        charged = self._tokens.charge(tokens) if self._tokens else 0.0
        return Slot(self, self.rate.send(now), self._sent, now, charged)

    def _pump(self) -> None:
        """Let through whoever may go; be called again when the next one may."""
        while self._line:
            waiter = self._line[0]
            if waiter.future.done():  # cancelled or swept away
                self._line.popleft()
                continue
            now = time.monotonic()
            wait = self._wait(now, waiter.tokens)
            if wait <= 0:
                self._line.popleft()
                waiter.future.set_result(self._grant(now, waiter.tokens) if waiter.wanted() else None)
                continue
            if self._timer:
                self._timer.cancel()
                self._timer = None
            if wait < float("inf"):
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(wait, SHORTEST_TIMER), self._pump)
            return

    def answered(self, tokens: int) -> None:
        """A whole answer arrived."""
        self._mean_tokens = tokens if self._mean_tokens == 0 else 0.9 * self._mean_tokens + 0.1 * tokens
        self._pause = self.FIRST_PAUSE
        self.concurrency.answered(self.in_flight, time.monotonic())

    def refused(self, slot: Slot, retry_after: float | None) -> bool:
        """A 429 arrived for a request; whether it ended the request's epoch."""
        now, epoch = time.monotonic(), slot.epoch
        self.rate.refused(epoch)
        first = epoch is self.rate.epoch
        if not first and retry_after is None:  # this burst is being waited out already
            return False
        if first and (retry_after is None or epoch.refused == epoch.sent):
            retry_after = max(retry_after or 0.0, self._pause * random.uniform(1.0, 1.25))
            self._pause = min(2 * self._pause, self.LONGEST_GUESS)
        longer = self._pause_until(now + (retry_after or 0.0), now)
        if first:
            if self.rate.rate is None or self.in_flight >= int(self.concurrency.size):
                self.concurrency.cut(self.in_flight)
            self.rate.end_epoch(now, self._paused_until, followers=self._sent - slot.number)
        elif longer:
            self.rate.prolong(self._paused_until)
        if longer:
            self.sweep()
        return first

    def told(self, slot: Slot, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """Note the tighter of two quotas, counted from when the request was sent: the server decided then."""
        if slot.number < self._told or slot.epoch is not self.rate.epoch:  # old news
            return
        self._told, self._quota_until = slot.number, 0.0
        if tokens and self._mean_tokens:
            self._quota, self._quota_until = slot.number + tokens[0] // self._mean_tokens, slot.sent_at + tokens[1]
        if requests and (not self._quota_until or slot.number + requests[0] < self._quota):
            self._quota, self._quota_until = slot.number + requests[0], slot.sent_at + requests[1]

    def release(self, slot: Slot) -> None:
        """A request is over."""
        self.in_flight -= 1
        if self._tokens:
            self._tokens.settle(slot.charged, slot.tokens)
        if self._line:
            self._pump()
        elif not self.in_flight:
            self._idle_since = time.monotonic()
