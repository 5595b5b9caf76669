"""What an endpoint may be asked at once and per minute: as configured, and below that as its 429s teach.

A configured limit is a ceiling; all of them hold together. Below the ceilings two limits adapt:

- The *window*, how many requests are in flight. Without a configured limit it starts small and doubles a round trip
  (slow start) until a 429, or until doubling has stopped bringing answers faster; then it grows by steps. Of a burst
  of 429s one cuts it: those that answer requests sent before the cut do not cut again.
- The *rate*, learned from 429s (``weak2wise.llm.pace``). Where the rate was what held requests back, a 429 says
  nothing about the window and leaves it alone.

A pause that a provider asks for holds for everybody. Nothing but a 429 makes any of this smaller. Who waits here waits
in one line; the head of it is let through by ``_pump``, which runs when something ends and when time is due, so that
waiting costs nothing, however many wait. asyncio-throttle polls for each waiter and therefore gets one at a time.
"""

import asyncio
import random
import time
from collections import deque

from asyncio_throttle import Throttler

from weak2wise.llm.pace import Epoch, Pace

FIRST_WINDOW = 32
MOST_IN_FLIGHT = 1024
"""Where none is configured; each is a connection, and so an open file."""
CUT = 0.75
STEPS_BACK = 32
"""After a cut the window grows by the refused one over this, each round trip: it is back after eight."""
FLAT_ROUNDS = 2
SHORTEST_TIMER = 0.002
"""Seconds; event loops count in milliseconds, and a timer of less would spin."""


class TokenBudget:
    """Tokens per minute as a leaky bucket; a request is charged the running mean, then settled by what it used."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = per_minute
        self._left = per_minute
        self._filled_at = time.monotonic()

    def wait(self, now: float, mean: float) -> float:
        """Seconds until a request of ``mean`` tokens fits; not above 0 if it does now."""
        self._left = min(self._capacity, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return (max(min(mean, self._capacity), 1) - self._left) / self._rate

    def charge(self, mean: float) -> float:
        """Take the tokens of one request; returns how many."""
        charged = min(mean, self._capacity)
        self._left -= charged
        return charged

    def settle(self, charged: float, used: int) -> None:
        """Correct a charge once the true number of tokens is known."""
        self._left += charged - used


class Window:
    """How many requests may be in flight, and what makes that more or fewer."""

    def __init__(self, ceiling: int, first: int) -> None:
        self.size = float(first)
        self._ceiling = ceiling
        self._slow_start = first < ceiling
        self._step = 1.0
        self._best = 0.0
        self._flat = 0
        self._new_round(0.0)

    def _new_round(self, now: float) -> None:
        self._round_began, self._round_size, self._answers = now, int(self.size), 0

    def answered(self, in_flight: int, now: float) -> None:
        """An answer arrived while so many were in flight; only a window that was full grows."""
        if in_flight < int(self.size):
            self._new_round(now)
        elif not self._slow_start:
            self.size = min(self._ceiling, self.size + self._step / self.size)
        else:
            self.size = min(self._ceiling, self.size + 1)
            self._answers += 1
            if self._answers >= self._round_size:
                self._end_round(now)

    def _end_round(self, now: float) -> None:
        rate = self._answers / max(now - self._round_began, 1e-6)
        self._flat = 0 if rate > 1.1 * self._best else self._flat + 1
        self._best = max(rate, self._best)
        self._slow_start = self._flat < FLAT_ROUNDS
        self._new_round(now)

    def cut(self, in_flight: int) -> None:
        """A 429 arrived while so many were in flight."""
        refused = min(float(in_flight), self.size)
        self.size = max(1.0, CUT * refused)
        self._step = max(1.0, refused / STEPS_BACK)
        self._slow_start = False


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
        return self._limits.refused(self.epoch, retry_after)

    def told(self, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """The reply said how many requests and tokens remain, and in how many seconds that is over."""
        self._limits.told(self, requests, tokens)

    def release(self) -> None:
        """The request is over."""
        self._limits.release(self)


class Limits:
    """The limits of one endpoint, or of several that share a key."""

    FIRST_PAUSE = 1.0
    LONGEST_GUESS = 60.0
    LONGEST_PAUSE = 3600.0
    """Whatever a server says, it is asked again after an hour."""

    def __init__(
        self,
        *,
        in_flight: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        ceiling = in_flight or MOST_IN_FLIGHT
        self.window = Window(ceiling, in_flight or FIRST_WINDOW)
        self.pace = Pace(time.monotonic(), requests_per_minute and requests_per_minute / 60)
        self.in_flight = 0
        # Windows of about a second keep bursts short; a slow rate gets one request per window.
        burst = max(1, round((requests_per_minute or 0) / 60))
        self._throttler = (
            Throttler(rate_limit=burst, period=60 * burst / requests_per_minute) if requests_per_minute else None
        )
        self._turn = asyncio.Lock()
        self._tokens = TokenBudget(tokens_per_minute) if tokens_per_minute else None
        self._mean_tokens = 0.0
        self._line: deque[asyncio.Future[Slot]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0
        self._told = 0
        self._idle_since: float | None = None
        self._paused_until = 0.0
        self._pause = self.FIRST_PAUSE
        self._quota, self._quota_until = 0.0, 0.0

    async def acquire(self) -> Slot:
        """Wait for leave to send one request."""
        if self._throttler is None:
            return await self._next_slot()
        async with self._turn:
            slot = await self._next_slot()
            try:
                await self._throttler.acquire()
                while (pause := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - no polling: it may grow
                    await asyncio.sleep(pause)
            except BaseException:
                slot.release()
                raise
            return slot

    async def _next_slot(self) -> Slot:
        now = time.monotonic()
        if self._idle_since is not None:
            self.pace.idled(self._idle_since, now)
            self._idle_since = None
        if not self._line and self._wait(now) <= 0:
            return self._grant(now)
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._line.append(future)
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # let through and cancelled in the same moment
                future.result().release()
            raise

    def _wait(self, now: float) -> float:
        """Seconds until the next request may go, as far as one can tell; not above 0 if it may now."""
        if self.in_flight >= int(self.window.size):
            return float("inf")
        if self._quota_until > now and self._sent >= self._quota:
            # Used up, as the server counts: the same as a 429, but that it cost no request.
            self._paused_until = max(self._paused_until, self._quota_until)
            self._quota_until = 0.0
            self.pace.end_epoch(now, self._paused_until)
        wait = max(self._paused_until - now, self.pace.wait(now))
        return wait if self._tokens is None else max(wait, self._tokens.wait(now, self._mean_tokens))

    def _grant(self, now: float) -> Slot:
        self.in_flight += 1
        self._sent += 1
        charged = self._tokens.charge(self._mean_tokens) if self._tokens else 0.0
        return Slot(self, self.pace.send(now), self._sent, now, charged)

    def _pump(self) -> None:
        """Let through whoever may go; be called again when the next one may."""
        while self._line:
            if self._line[0].done():  # cancelled
                self._line.popleft()
                continue
            now = time.monotonic()
            wait = self._wait(now)
            if wait <= 0:
                self._line.popleft().set_result(self._grant(now))
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
        self.window.answered(self.in_flight, time.monotonic())

    def refused(self, epoch: Epoch, retry_after: float | None) -> bool:
        """A 429 arrived for a request of an epoch; whether it ended that epoch."""
        now = time.monotonic()
        self.pace.refused(epoch)
        first = epoch is self.pace.epoch
        if not first and retry_after is None:  # this burst is being waited out already
            return False
        if first and (retry_after is None or epoch.refused == epoch.sent):
            retry_after = max(retry_after or 0.0, self._pause * random.uniform(1.0, 1.25))
            self._pause = min(2 * self._pause, self.LONGEST_GUESS)
        until = now + min(retry_after or 0.0, self.LONGEST_PAUSE)
        longer = until > self._paused_until
        self._paused_until = max(self._paused_until, until)
        if first:
            if self.pace.rate is None or self.in_flight >= int(self.window.size):
                self.window.cut(self.in_flight)
            self.pace.end_epoch(now, self._paused_until)
        elif longer:
            self.pace.prolong(self._paused_until)
        return first

    def told(self, slot: Slot, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """Note the tighter of two quotas, counted from when the request was sent: the server decided then."""
        if slot.number < self._told or slot.epoch is not self.pace.epoch:  # old news
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
