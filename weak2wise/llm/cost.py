"""The cost of all calls to a host's endpoints, earlier runs included, and its cap.

The cap holds because a call reserves the most that it may cost before it is sent; its true cost takes the place of the
reservation when it is over. Near the cap fewer calls fit at once, so the run narrows before it stops.

A call that does not fit waits for others to settle. While it waits it holds nothing else: no place of its endpoint's
limits, no replica. The one that has waited longest comes first. Calls of other endpoints may pass it with what it
cannot use yet, but together they may reserve no more than it needs itself, so it is never starved. A call that would
exceed the cap even alone can never be sent, as what is spent only grows; it blocks nobody. When nothing is reserved and
only such calls wait, the budget is exhausted.
"""

import asyncio
import math
from collections import deque
from itertools import count

from weak2wise.errors import RunStopped
from weak2wise.telemetry.log import host_log

IDLE_SECONDS = 1.0
"""How long only calls that can never be sent have to wait before the budget counts as exhausted: the record that got
the last answer may go on to a cheaper call."""


class Reservation:
    """The most that one call may cost. Call ``settle`` after each attempt, and ``release`` in the end.

    If the call is free or there is no cap, nothing is reserved.
    """

    __slots__ = ("_budget", "divisible", "endpoint", "held", "number", "passed", "since", "taken", "usd")

    def __init__(self, budget: "CostBudget", endpoint: str, usd: float, *, divisible: bool = False) -> None:
        self._budget = budget
        self.endpoint = endpoint
        self.divisible = divisible
        """Whether it is for several calls, so that a part of them may fit where all together never will."""
        self.usd = usd
        self.held = usd <= 0
        """Whether the call may be sent."""
        self.taken: asyncio.Future[None] | None = None
        """Resolved when it need not wait any more; ``since`` is its place in line."""
        self.since = 0
        self.passed = 0.0
        """US dollars reserved by calls that passed it while it waited as the first."""
        self.number = 0
        """What it is called at the desk, where hosts share one budget."""

    def take(self) -> bool:
        """Reserve now, if it can be done. Returns whether the call may be sent."""
        return self.held or self._budget.take(self)

    async def wait(self) -> None:
        """Wait until it is reserved; or, if it is divisible, until it never can be as a whole."""
        if not self.held:
            await self._budget.wait(self)

    def insist(self) -> None:
        """Reserve it whether it fits or not: the call was sent already, by an earlier start."""
        if not self.held:
            self._budget.insist(self)

    def settle(self, usd: float) -> None:
        """The attempt is over and cost this much."""
        self._budget.pay(usd)
        self.release()

    def release(self) -> None:
        """Give back what is reserved, if anything is."""
        if self.held and self.usd > 0:
            self.held = False
            self._budget.give_back(self)


class CostBudget:
    """US dollars ``spent``; ``max_usd`` is the cap, ``None`` for no cap.

    ``exhausted`` is set while calls wait of which none can ever be sent.
    """

    def __init__(self, max_usd: float | None = None) -> None:
        self.max_usd = max_usd
        self.spent = 0.0
        self.exhausted = asyncio.Event()
        self.cheapest: Reservation | None = None
        """Of the calls that waited when it was set, the one that may cost least."""
        self._reserved = 0.0
        self._holding = 0
        self._lines: dict[str, deque[Reservation]] = {}
        """By endpoint: calls that wait and may still be sent, in order. Those of one endpoint are much alike, so only
        the first of each line is considered."""
        self._never: set[Reservation] = set()
        """Calls that wait and would exceed the cap even alone."""
        self._numbers = count()
        self._idle: asyncio.TimerHandle | None = None
        self._narrowed = False

    @property
    def left(self) -> float:
        """US dollars that are not spent; infinite without a cap."""
        return float("inf") if self.max_usd is None else self.max_usd - self.spent

    def reservation(self, endpoint: str, usd: float, *, divisible: bool = False) -> Reservation:
        """A reservation of ``usd`` for a call, or for several (``divisible``); nothing is reserved yet."""
        return Reservation(self, endpoint, 0.0 if self.max_usd is None else usd, divisible=divisible)

    def pay(self, usd: float) -> None:
        """Count money that is spent."""
        self.spent += usd

    def take(self, one: Reservation) -> bool:
        """Reserve, if it fits and no other call waits for the same money. Returns whether it did."""
        if self._lines or one.usd > self.left - self._reserved:
            return False
        self._hold(one)
        return True

    def insist(self, one: Reservation) -> None:
        """Reserve, whether it fits or not."""
        self._hold(one)

    async def wait(self, one: Reservation) -> None:
        """Wait until it is reserved."""
        if not self._narrowed:
            self._narrowed = True
            facts = {"spent_usd": round(self.spent, 4), "reserved_usd": round(self._reserved, 4)}
            host_log.warning("money.narrows", **facts, max_cost_usd=self.max_usd, effect="fewer calls at once")
        one.taken, one.since, one.passed = asyncio.get_running_loop().create_future(), next(self._numbers), 0.0
        self._lines.setdefault(one.endpoint, deque()).append(one)
        self._serve()
        try:
            await one.taken
        finally:
            if not one.held:  # cancelled
                self._never.discard(one)
                self._serve()

    def give_back(self, one: Reservation) -> None:
        """A reservation is over."""
        self._holding -= 1
        # With floats the difference alone might never become zero again.
        self._reserved = self._reserved - one.usd if self._holding else 0.0
        if self._lines or self._never:
            self._serve()

    def stop(self) -> RunStopped:
        """The error that stops a run when it is exhausted."""
        assert self.cheapest
        one, spent = self.cheapest, f"{self.spent:.4f} US dollars are spent"
        more = math.ceil(1e4 * (self.spent + one.usd)) / 1e4
        return RunStopped(
            f"engine.max_cost_usd: of {self.max_usd:g} US dollars too little is left for the next call",
            hint=f"{spent}, and the next call (to {one.endpoint}) may cost {one.usd:.4f}: to go on, raise "
            f"engine.max_cost_usd to more than {more:.4f}, in the config or by --set.",
            same_command=False,
            cause="cap",
        )

    def _hold(self, one: Reservation) -> None:
        self._stop_timer()
        one.held = True
        self._holding += 1
        self._reserved += one.usd

    def _serve(self) -> None:
        """Reserve what fits for the calls that wait; then see whether any can still be sent."""
        while heads := self._heads():
            first, free = heads[0], self.left - self._reserved
            chosen: Reservation | None = first
            if first.usd > free:
                room = min(free, first.usd - first.passed)
                chosen = next((one for one in heads[1:] if one.usd <= room), None)
                if chosen is None:
                    break
                first.passed += chosen.usd
            assert chosen
            assert chosen.taken
            self._hold(chosen)
            chosen.taken.set_result(None)
        if not self._never:
            self.exhausted.clear()
            self._stop_timer()
        elif not self._holding and not self._idle:
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._give_up)

    def _stop_timer(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None

    def _give_up(self) -> None:
        self._idle = None
        self.cheapest = min(self._never, key=lambda one: one.usd)
        self.exhausted.set()

    def _heads(self) -> list[Reservation]:
        """The first call of each line, that has waited longest first. Sorts out those that do not belong there."""
        for endpoint, line in [*self._lines.items()]:
            while line:
                one = line[0]
                assert one.taken
                if not one.taken.done():
                    if one.usd <= self.left:
                        break
                    if one.divisible:
                        one.taken.set_result(None)
                    else:
                        self._never.add(one)
                line.popleft()
            if not line:
                del self._lines[endpoint]
        return sorted((line[0] for line in self._lines.values()), key=lambda one: one.since)
