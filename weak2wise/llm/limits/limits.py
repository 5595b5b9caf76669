"""Limits of an endpoint: how many requests at once and per minute.

Configured limits are ceilings that all hold together. Below them two limits adapt:

- The *concurrency*: how many requests are in flight (``adaptive_concurrency``). A burst of 429s cuts it once: a 429
  for a request sent before the cut does not cut again.
- The *rate*: learned from 429s (``adaptive_rate``). If the rate was what held requests back, a 429 says nothing about
  the concurrency and does not change it.

A pause that a provider asks for holds for all requests. Only a 429 makes a limit smaller. Requests wait in one queue.
``_pump`` lets the first one go; it runs when a request ends and when a timer fires, so waiting costs nothing, however
many wait. Waiters whose endpoint went down are released without consuming quota, because other endpoints may share
these limits. asyncio-throttle enforces a configured rate, whatever the learned one is. It polls for each waiter, so it
gets one at a time; that one seldom waits, because the adaptive rate already spaces requests.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from asyncio_throttle import Throttler

from weak2wise.config.endpoint_settings import LimitSettings
from weak2wise.llm.cost import Reservation
from weak2wise.llm.limits.adaptive_concurrency import AdaptiveConcurrency
from weak2wise.llm.limits.adaptive_rate import AdaptiveRate, Epoch
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limiter import always
from weak2wise.llm.limits.token_limit import Charge, TokenLimit
from weak2wise.telemetry.log import host_log

FIRST_CONCURRENCY = 32
MOST_IN_FLIGHT = 1024
"""The limit if none is configured and open files allow it (``weak2wise.llm.http.open_files``)."""
SHORTEST_TIMER = 0.002
"""Seconds; event loops count in milliseconds, so a shorter timer would spin."""
LONG_PAUSE = 10.0
"""Seconds; a longer pause is logged."""


class Slot:
    """Permission to send one request. Call ``release`` when the request is over, whatever its result."""

    __slots__ = ("_limits", "charge", "epoch", "number", "sent_at", "tokens")

    def __init__(self, limits: "Limits", epoch: Epoch, number: int, sent_at: float, charge: Charge | None) -> None:
        self._limits = limits
        self.epoch = epoch
        self.number = number
        self.sent_at = sent_at
        self.charge = charge
        self.tokens = 0
        """What it used, as far as is known."""

    def answered(self, tokens: int) -> None:
        """A whole answer arrived that used this many tokens."""
        self.tokens = tokens
        self._limits.answered(tokens)

    def refused(self, retry_after: float | None) -> bool:
        """A 429 arrived, perhaps with ``retry_after`` in seconds. Returns whether it was the first of its burst."""
        return self._limits.refused(self, retry_after)

    def note_quota(self, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """The reply reported how many requests and tokens remain, each with the seconds until that resets."""
        self._limits.note_quota(self, requests, tokens)

    def release(self) -> None:
        """The request is over."""
        self._limits.release(self)


class _Waiter(NamedTuple):
    """A request in the queue; the arguments of ``Limits.acquire``."""

    future: "asyncio.Future[Slot | None]"
    sizes: CallSizes
    prompt_tokens: float
    wanted: Callable[[], bool]
    reservation: Reservation | None


class Limits:
    """The limits of one endpoint, or of several that share a key."""

    FIRST_PAUSE = 1.0
    LONGEST_GUESS = 60.0
    LONGEST_PAUSE = 3600.0
    """Seconds; no pause is longer, whatever a server asks for."""

    def __init__(
        self,
        name: str = "",
        *,
        in_flight: int | None = None,
        most_in_flight: int = MOST_IN_FLIGHT,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        """Take the configured limits; ``most_in_flight`` bounds the concurrency if ``in_flight`` is not configured."""
        self._name = name
        now = time.monotonic()
        self.concurrency = AdaptiveConcurrency(
            now, ceiling=in_flight or most_in_flight, first=in_flight or min(FIRST_CONCURRENCY, most_in_flight)
        )
        self.rate = AdaptiveRate(now, requests_per_minute and requests_per_minute / 60)
        self.in_flight = 0
        # Periods of about a second keep bursts short; a slow rate gets one request per period.
        burst = max(1, round((requests_per_minute or 0) / 60))
        self._throttler = (
            Throttler(rate_limit=burst, period=60 * burst / requests_per_minute) if requests_per_minute else None
        )
        self._turn = asyncio.Lock()
        self._tokens = TokenLimit(now, tokens_per_minute) if tokens_per_minute else None
        self._sizes = CallSizes(0.0)
        self._mean_tokens = 0.0
        self._waiters: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._quota_from = 0
        self._idle_since: float | None = None
        self._paused_until = 0.0
        self._pause = self.FIRST_PAUSE
        self._quota, self._quota_until = 0.0, 0.0

    @classmethod
    def of(cls, name: str, settings: LimitSettings, most_in_flight: int = MOST_IN_FLIGHT) -> "Limits":
        """The limits in settings; ``most_in_flight`` as in the constructor."""
        return cls(
            settings.limit_group or name,
            in_flight=settings.max_concurrent_requests,
            most_in_flight=most_in_flight,
            requests_per_minute=settings.max_requests_per_minute,
            tokens_per_minute=settings.max_tokens_per_minute,
        )

    @property
    def size(self) -> int:
        """How many requests may be in flight."""
        return int(self.concurrency.size)

    @property
    def rate_limit(self) -> float | None:
        """Requests a second that may be sent now; ``None`` if no limit is known."""
        return self.rate.rate

    @property
    def pause_left(self) -> float:
        """Seconds until the pause that the provider asked for is over."""
        return max(0.0, self._paused_until - time.monotonic())

    async def acquire(
        self,
        sizes: CallSizes | None = None,
        prompt_tokens: float = 0.0,
        *,
        wanted: Callable[[], bool] = always,
        reservation: Reservation | None = None,
    ) -> Slot | None:
        """Wait for permission to send one request.

        Args:
            sizes: of the requests of its kind; ``None``: of all that do not say.
            prompt_tokens: about how many its prompt has.
            wanted: whether it is still to be sent; checked when its turn comes and in ``release_unwanted``.
            reservation: what it may cost, taken when its turn has come; ``None``: nothing.

        Returns:
            ``None`` if it is no longer wanted, or its money is not free: then wait for the reservation first.
        """
        slot = await self._next_slot(sizes or self._sizes, prompt_tokens, wanted, reservation)
        if slot and self._throttler:
            try:
                async with self._turn:
                    await self._throttler.acquire()
            except BaseException:
                slot.release()
                raise
        return slot

    async def _next_slot(
        self, sizes: CallSizes, prompt_tokens: float, wanted: Callable[[], bool], reservation: Reservation | None
    ) -> Slot | None:
        now = time.monotonic()
        if self._idle_since is not None:
            self.rate.idled(self._idle_since, now)
            self._idle_since = None
        if not self._waiters and self._wait(now, sizes, prompt_tokens) <= 0:
            goes = reservation is None or reservation.take()
            return self._grant(now, sizes, prompt_tokens) if goes else None
        waiter = _Waiter(asyncio.get_running_loop().create_future(), sizes, prompt_tokens, wanted, reservation)
        self._waiters.append(waiter)
        self._pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled():  # granted and cancelled in the same moment
                slot = waiter.future.result()
                if slot:
                    slot.release()
            raise

    def release_unwanted(self) -> None:
        """Release the waiters that are no longer wanted; they consume no quota."""
        for waiter in self._waiters:
            if not waiter.future.done() and not waiter.wanted():
                waiter.future.set_result(None)
        self._pump()

    def _wait(self, now: float, sizes: CallSizes, prompt_tokens: float) -> float:
        """Seconds until the next request may be sent, as far as is known; 0 or less: now."""
        if self.in_flight >= self.size:
            if (overdue := self.concurrency.overdue(now)) > 0:
                return overdue
            self.concurrency.grow_without_answers(now)
        if self._quota_until > now and self._sent >= self._quota:
            # The reported quota is used up: treat it like a 429 that cost no request.
            self._quota_until, until = 0.0, self._quota_until
            self._pause_until(until, now)
            self.rate.end_epoch(now, self._paused_until)
        wait = max(self._paused_until - now, self.rate.wait(now))
        return wait if self._tokens is None else max(wait, self._tokens.wait(now, sizes.expect(prompt_tokens)))

    def _pause_until(self, until: float, now: float) -> bool:
        """Send nothing before ``until``. Returns whether that prolongs the pause."""
        until = min(until, now + self.LONGEST_PAUSE)
        if until <= self._paused_until:
            return False
        if until - now > LONG_PAUSE and until - self._paused_until > LONG_PAUSE:
            host_log.warning("endpoint.pauses", endpoint=self._name, seconds=round(until - now, 1))
        self._paused_until = until
        return True

    def _grant(self, now: float, sizes: CallSizes, prompt_tokens: float) -> Slot:
        self.in_flight += 1
        self._sent += 1
        charge = self._tokens.charge(now, sizes, prompt_tokens) if self._tokens else None
        return Slot(self, self.rate.send(now), self._sent, now, charge)

    def _pump(self) -> None:
        """Grant slots to the waiters that may go, and set a timer for the next one."""
        while self._waiters:
            waiter = self._waiters[0]
            if waiter.future.done():  # cancelled or released
                self._waiters.popleft()
                continue
            now = time.monotonic()
            wait = self._wait(now, waiter.sizes, waiter.prompt_tokens)
            if wait <= 0:
                self._waiters.popleft()
                goes = waiter.wanted() and (waiter.reservation is None or waiter.reservation.take())
                waiter.future.set_result(self._grant(now, waiter.sizes, waiter.prompt_tokens) if goes else None)
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
        """A 429 arrived for a request. Returns whether it ended the request's epoch."""
        now, epoch = time.monotonic(), slot.epoch
        self.rate.refused(epoch)
        first = epoch is self.rate.epoch
        if not first and retry_after is None:  # the pause for this burst has begun already
            return False
        if first and (retry_after is None or epoch.refused == epoch.sent):
            retry_after = max(retry_after or 0.0, self._pause * random.uniform(1.0, 1.25))
            self._pause = min(2 * self._pause, self.LONGEST_GUESS)
        longer = self._pause_until(now + (retry_after or 0.0), now)
        if first:
            if self.rate.rate is None or self.in_flight >= self.size:
                self.concurrency.cut(self.in_flight)
            self.rate.end_epoch(now, self._paused_until, followers=self._sent - slot.number)
        elif longer:
            self.rate.prolong(self._paused_until)
        if longer:
            self.release_unwanted()
        return first

    def note_quota(self, slot: Slot, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """Keep the tighter of two quotas. It counts from when the request was sent: the server reported it then."""
        if slot.number < self._quota_from or slot.epoch is not self.rate.epoch:  # an older report
            return
        self._quota_from, self._quota_until = slot.number, 0.0
        if tokens and self._mean_tokens:
            self._quota, self._quota_until = slot.number + tokens[0] // self._mean_tokens, slot.sent_at + tokens[1]
        if requests and (not self._quota_until or slot.number + requests[0] < self._quota):
            self._quota, self._quota_until = slot.number + requests[0], slot.sent_at + requests[1]

    def release(self, slot: Slot) -> None:
        """A request is over."""
        self.in_flight -= 1
        if self._tokens and slot.charge:
            self._tokens.settle(slot.charge, slot.tokens)
        if self._waiters:
            self._pump()
        elif not self.in_flight:
            self._idle_since = time.monotonic()
