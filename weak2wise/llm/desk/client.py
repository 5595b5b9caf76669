"""A host's side of the desk: limits, budget and error rates that ask it, in place of the host's own.

A host visits the desk every 50 ms, or less often where there are many hosts (``Reply.tick``): it brings all that has
happened since, and takes what was granted. A 429 does not wait for the tick. Without anything to say or to wait for,
there is no visit.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

from weak2wise.errors import Kind, RunStopped
from weak2wise.llm.cost import CostBudget, Reservation
from weak2wise.llm.desk.messages import (
    Answered,
    Event,
    Insisted,
    Noted,
    Over,
    Paid,
    Quota,
    Refused,
    Reply,
    Report,
    Returned,
    Stop,
    Want,
    Withdrawn,
)
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limiter import always

MOST_WAITING = 256
"""Requests of one host that wait at the desk for each of its limits; the others wait here."""
LONGEST_MESSAGE = 500
"""Characters of an error that are sent to the desk."""
STALE = 1.0
"""Seconds. What was granted this long after it was asked for is given back: the host or the desk was frozen, and it
would count in a minute in which it was not sent."""


class _Waiting:
    """What waits for a grant, here or at the desk: a request, or money alone (without ``limits``)."""

    __slots__ = ("asked_usd", "future", "limits", "prompt_tokens", "reservation", "sizes", "wanted")

    def __init__(
        self,
        reservation: Reservation,
        limits: "SharedLimits | None" = None,
        sizes: CallSizes | None = None,
        prompt_tokens: float = 0.0,
        wanted: Callable[[], bool] = always,
    ) -> None:
        self.future: asyncio.Future[SharedSlot | None] = asyncio.get_running_loop().create_future()
        self.reservation = reservation
        self.asked_usd = 0.0
        self.limits = limits
        self.sizes = sizes
        self.prompt_tokens = prompt_tokens
        self.wanted = wanted

    def want(self, number: int) -> Want:
        """As it is said to the desk."""
        one = self.reservation
        self.asked_usd = usd = 0.0 if one.held else one.usd
        if self.limits is None or self.sizes is None:
            return Want(number, one.endpoint, usd, divisible=one.divisible)
        longest = self.sizes.expect(0.0).most
        return Want(number, one.endpoint, usd, True, self.sizes.role, self.prompt_tokens, longest)

    def accept(self, number: int) -> None:
        """It was granted, and goes on."""
        if self.asked_usd:
            self.reservation.number, self.reservation.held = number, True
        self.future.set_result(SharedSlot(self.limits, number) if self.limits else None)


class DeskClient:
    """One host's way to the desk. ``run`` must run beside the host's runs.

    Args:
        host: the host's name; never the same for two, nor for one that was given up.
        visit: how to reach the desk.
        max_usd: the cap, as the desk has it.
    """

    def __init__(self, host: str, visit: Callable[[Report], Awaitable[Reply]], max_usd: float | None = None) -> None:
        self.host = host
        self.budget = SharedBudget(self, max_usd)
        self.lost = asyncio.Event()
        """Set when the desk has given this host up."""
        self._visit = visit
        self._numbers = count(1)
        self._limits: list[SharedLimits] = []
        self._money: deque[_Waiting] = deque()
        """Money alone that is to be asked for at the next visit."""
        self._waiting: dict[int, _Waiting] = {}
        """At the desk."""
        self._events: list[Event] = []
        self._stops: dict[str, Stop] = {}
        self._tick = 0.0
        self._something = asyncio.Event()
        self._urgent = asyncio.Event()

    def limits(self, endpoint: str) -> "SharedLimits":
        """The limits of an endpoint; those of its group share them."""
        self._limits.append(SharedLimits(self, endpoint))
        return self._limits[-1]

    async def run(self) -> None:
        """Visit the desk as often as needed, until it has given this host up. Raises what a visit raises."""
        while not self.lost.is_set():
            if not self._waiting:
                await self._something.wait()
            await self.visit()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tick):
                    await self._urgent.wait()

    async def visit(self) -> None:
        """Say what has happened, and take what was granted."""
        self._something.clear()
        self._urgent.clear()
        withdrawn = self._withdraw()
        self._queue()
        report, self._events = Report(self.host, self._events), []
        began = time.monotonic()
        reply = await self._visit(report)
        if reply.lost:
            self.lost.set()
            return
        self._tick, self._stops = reply.tick, reply.stops
        self._take(reply, stale=time.monotonic() - began > STALE)
        for number in withdrawn:
            self._waiting.pop(number, None)
        for limits in self._limits:
            limits.update(reply)
        self.budget.update(reply, sum(event.usd for event in self._events if isinstance(event, Paid)))

    def say(self, event: Event, *, at_once: bool = False) -> None:
        """Report an event at the next visit."""
        self._events.append(event)
        self._something.set()
        if at_once:
            self._urgent.set()

    def note(self, role: str, kind: Kind | None, last: str) -> None:
        """A call for this role succeeded (``None``) or failed; ``last`` is the message."""
        self.say(Noted(role, kind, last[:LONGEST_MESSAGE]))

    def stopped(self, kind: str) -> RunStopped | None:
        """The error that stops all runs, if too many calls for this kind of role failed."""
        return self._stops[kind].error() if kind in self._stops else None

    def next_number(self) -> int:
        """A number that was not used before."""
        return next(self._numbers)

    async def money(self, one: Reservation) -> None:
        """Wait until money is reserved; or, if it is divisible, until it never can be as a whole."""
        waiting = _Waiting(one)
        self._money.append(waiting)
        self._something.set()
        await waiting.future

    async def slot(self, waiting: _Waiting) -> "SharedSlot | None":
        """Wait for a slot, and for money if none is reserved yet."""
        assert waiting.limits
        waiting.limits.line.append(waiting)
        self._something.set()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled() and (slot := waiting.future.result()):
                slot.release()  # granted and cancelled in the same moment
            raise

    def release_unwanted(self, limits: "SharedLimits") -> None:
        """Release the requests in the line of these limits that are no longer wanted."""
        for waiting in (*limits.line, *(one for one in self._waiting.values() if one.limits is limits)):
            if not waiting.future.done() and not waiting.wanted():
                waiting.future.set_result(None)
        self._something.set()

    def _withdraw(self) -> list[int]:
        """Take back what is over, and return its numbers; it may have been granted already."""
        over = [number for number, waiting in self._waiting.items() if waiting.future.done()]
        self._events += map(Withdrawn, over)
        return over

    def _queue(self) -> None:
        """Put what waits here into the desk's lines, as far as may be."""
        there = Counter(waiting.limits for waiting in self._waiting.values())
        for limits in (None, *self._limits):
            line = limits.line if limits else self._money
            while line and there[limits] < MOST_WAITING:
                waiting = line.popleft()
                if not waiting.future.done():
                    there[limits] += 1
                    number = self.next_number()
                    self._waiting[number] = waiting
                    self._events.append(waiting.want(number))

    def _take(self, reply: Reply, *, stale: bool) -> None:
        """Hand out what was granted; give back what is not wanted any more."""
        again: list[_Waiting] = []
        for number in reply.unreserved:
            waiting = self._waiting.pop(number)
            if not waiting.future.done():
                waiting.future.set_result(None)
        for number in reply.granted:
            waiting = self._waiting.pop(number)
            if stale or waiting.future.done() or not waiting.wanted():
                self._give_back(number, waiting)
                again.append(waiting)
            else:
                waiting.accept(number)
        for waiting in reversed(again):
            if stale:
                (waiting.limits.line if waiting.limits else self._money).appendleft(waiting)
            elif not waiting.future.done():
                waiting.future.set_result(None)

    def _give_back(self, number: int, waiting: _Waiting) -> None:
        if waiting.asked_usd:
            self.say(Returned(number))
        if waiting.limits:
            self.say(Over(number, 0))


class SharedSlot:
    """Leave to send one request, from the desk. Call ``release`` when the request is over."""

    __slots__ = ("_limits", "_number", "tokens")

    def __init__(self, limits: "SharedLimits", number: int) -> None:
        self.tokens = 0
        self._limits = limits
        self._number = number
        limits.in_flight += 1

    def answered(self, tokens: int) -> None:
        """A whole answer arrived that used this many tokens."""
        self.tokens = tokens
        self._limits.desk.say(Answered(self._number, tokens))

    def refused(self, retry_after: float | None) -> bool:
        """A 429 arrived. The desk logs whether it was the first of its burst."""
        self._limits.desk.say(Refused(self._number, retry_after), at_once=True)
        return False

    def note_quota(self, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """The reply reported how many requests and tokens remain, each with the seconds until that resets."""
        self._limits.desk.say(Quota(self._number, requests, tokens))

    def release(self) -> None:
        """The request is over."""
        self._limits.in_flight -= 1
        self._limits.desk.say(Over(self._number, self.tokens))


class SharedLimits:
    """The limits of one endpoint or group, at the desk. A ``Limiter``."""

    def __init__(self, desk: DeskClient, endpoint: str) -> None:
        self.desk = desk
        self.in_flight = 0
        self.line: deque[_Waiting] = deque()
        """Requests that are to be put into the desk's line at the next visit."""
        self.size = 0
        self.rate_limit: float | None = None
        self._endpoint = endpoint
        self._sizes = CallSizes(0.0)
        self._paused_until = 0.0

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
    ) -> SharedSlot | None:
        """As of ``Limiter``; ``None`` only if it is no longer wanted."""
        reservation = reservation or self.desk.budget.reservation(self._endpoint, 0.0)
        return await self.desk.slot(_Waiting(reservation, self, sizes or self._sizes, prompt_tokens, wanted))

    def release_unwanted(self) -> None:
        """Release the waiters that are no longer wanted; they consume no quota."""
        self.desk.release_unwanted(self)

    def update(self, reply: Reply) -> None:
        """Note how the limits stand."""
        state = reply.limits[self._endpoint]
        self.size, self.rate_limit = state.size, state.rate
        until = time.monotonic() + state.pause
        longer = state.pause > 0 and until > self._paused_until + STALE
        self._paused_until = until
        if longer:
            self.release_unwanted()


class SharedBudget(CostBudget):
    """The cost budget, at the desk."""

    def __init__(self, desk: DeskClient, max_usd: float | None) -> None:
        super().__init__(max_usd)
        self._desk = desk
        self._stop: Stop | None = None

    def pay(self, usd: float) -> None:
        """Count money that is spent."""
        self.spent += usd
        if usd:
            self._desk.say(Paid(usd))

    def take(self, one: Reservation) -> bool:
        """Never at once: the desk has to be asked."""
        del one
        return False

    def insist(self, one: Reservation) -> None:
        """Reserve, whether it fits or not."""
        one.number, one.held = self._desk.next_number(), True
        self._desk.say(Insisted(one.number, one.endpoint, one.usd))

    async def wait(self, one: Reservation) -> None:
        """Wait until it is reserved."""
        await self._desk.money(one)

    def give_back(self, one: Reservation) -> None:
        """A reservation is over."""
        self._desk.say(Returned(one.number))

    def stop(self) -> RunStopped:
        """The error that stops a run when it is exhausted."""
        assert self._stop
        return self._stop.error()

    def update(self, reply: Reply, unreported: float) -> None:
        """Note what is spent by all hosts, and whether it is exhausted; this host's ``unreported`` comes on top."""
        self.spent = reply.spent + unreported
        self._stop = reply.exhausted
        if reply.exhausted:
            self.exhausted.set()
        else:
            self.exhausted.clear()
