"""The desk: one place that holds what hosts share, by the same code that a single host uses.

Each endpoint's ``Limits``, the ``CostBudget`` and the ``ErrorRate`` of the paid roles are here. A host visits from time
to time (``Desk.visit``), says what happened since, and takes what was granted to it. A request waits in the line of its
limits here, not at its host, so all hosts are served in turn, and what one of them reports holds for all.

A host that is gone (``Desk.give_up``) may have requests at the provider, which go on there for a while. So its slots
come back only after a quarantine; and as nobody knows what those requests cost, the most that they may cost counts as
spent. What arrived is in the journal, from which the next start counts what is really spent.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from weak2wise.errors import Kind, RunStopped
from weak2wise.llm.cost import CostBudget, Reservation
from weak2wise.llm.desk.messages import (
    Answered,
    Event,
    Insisted,
    LimitState,
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
from weak2wise.llm.error_rate import Calls, ErrorRate
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limits import Limits, Slot
from weak2wise.telemetry.log import host_log

TICK = 0.05
"""Seconds between two visits of a host."""
MOST_VISITS = 640
"""Of all hosts, in a second; a call to an actor takes about a millisecond."""
SHORTEST_QUARANTINE, LONGEST_QUARANTINE = 10.0, 1800.0
"""Seconds for which the slots of a host that is gone stay taken; in between, until a request that is as slow as the
endpoint's slowest so far would be over."""
UNKNOWN_QUARANTINE = 60.0
"""Seconds, while no request has been answered yet."""


@dataclass(eq=False)
class _Visitor:
    """What one host waits for and holds, by number, and what has not been sent to it yet."""

    waiting: dict[int, "asyncio.Task[None]"] = field(default_factory=dict)
    slots: dict[int, tuple[str, Slot]] = field(default_factory=dict)
    """With their endpoint."""
    money: dict[int, Reservation] = field(default_factory=dict)
    on_record: set[int] = field(default_factory=set)
    """Reservations for what another host takes up by itself, from the files of the work_dir."""
    granted: list[int] = field(default_factory=list)
    unreserved: list[int] = field(default_factory=list)


class Desk:
    """Serves the hosts of one run.

    Args:
        limits: of each endpoint that is not embedded; endpoints of one group share theirs.
        budget: the cap, with what is spent already.
        rates: by kind of role, and the calls in them by role.
    """

    def __init__(
        self, limits: Mapping[str, Limits], budget: CostBudget, rates: Mapping[str, tuple[ErrorRate, Calls]]
    ) -> None:
        self.budget = budget
        self._limits = limits
        self._rates = rates
        self._sizes: dict[tuple[str, str], CallSizes] = {}
        self._slowest: dict[str, float] = {}
        self._visitors: dict[str, _Visitor] = {}
        self._gone: set[str] = set()
        self._stops: dict[str, Stop] = {}

    async def visit(self, report: Report) -> Reply:
        """Note what a host reports, and answer with what it may do."""
        if report.host in self._gone:
            return Reply(lost=True)
        visitor = self._visitors.setdefault(report.host, _Visitor())
        for event in report.events:
            self._note(visitor, event)
        await asyncio.sleep(0)  # what can be granted at once is
        granted, unreserved = visitor.granted, visitor.unreserved
        visitor.granted, visitor.unreserved = [], []
        return Reply(
            granted=granted,
            unreserved=unreserved,
            limits={
                name: LimitState(limits.size, limits.rate_limit, limits.pause_left)
                for name, limits in self._limits.items()
            },
            spent=self.budget.spent,
            exhausted=Stop.of(self.budget.stop()) if self.budget.exhausted.is_set() else None,
            stops=self._stops,
            tick=max(TICK, len(self._visitors) / MOST_VISITS),
        )

    def give_up(self, host: str) -> None:
        """A host is gone, or is taken to be: it gets nothing more, and what it has comes back as said above."""
        self._gone.add(host)
        visitor = self._visitors.pop(host, None)
        if visitor is None:
            return
        for task in visitor.waiting.values():
            task.cancel()
        loop, now = asyncio.get_running_loop(), time.monotonic()
        for endpoint, slot in visitor.slots.values():
            if slot.charge:
                slot.tokens = round(slot.charge.expected.mean)
            seconds = slot.sent_at + self._slowest.get(endpoint, UNKNOWN_QUARANTINE) - now
            loop.call_later(min(max(SHORTEST_QUARANTINE, seconds), LONGEST_QUARANTINE), slot.release)
        lost = 0.0
        for number, reservation in visitor.money.items():
            if number in visitor.on_record:
                reservation.release()
            else:
                lost += reservation.usd
                reservation.settle(reservation.usd)
        host_log.warning("desk.host_gone", host=host, slots=len(visitor.slots), counted_as_spent_usd=round(lost, 4))

    def _note(self, visitor: _Visitor, event: Event) -> None:
        """Take up one thing that a host reports."""
        match event:
            case Want(number=number):
                visitor.waiting[number] = asyncio.create_task(self._serve(visitor, event), name=f"want {number}")
            case Withdrawn(number=number):
                if number in visitor.waiting:
                    visitor.waiting.pop(number).cancel()
            case Insisted(number=number, endpoint=endpoint, usd=usd):
                visitor.money[number] = self.budget.reservation(endpoint, usd)
                visitor.money[number].insist()
                visitor.on_record.add(number)
            case Paid(usd=usd):
                self.budget.pay(usd)
            case Returned(number=number):
                visitor.on_record.discard(number)
                visitor.money.pop(number).release()
            case Noted(role=role, kind=kind, last=last):
                self._count(role, kind, last)
            case _:
                self._note_request(visitor, event)

    def _note_request(self, visitor: _Visitor, event: Answered | Refused | Quota | Over) -> None:
        endpoint, slot = visitor.slots[event.number]
        match event:
            case Answered(tokens=tokens):
                self._slowest[endpoint] = max(self._slowest.get(endpoint, 0.0), time.monotonic() - slot.sent_at)
                slot.answered(tokens)
            case Refused(retry_after=seconds):
                self._refused(endpoint, slot, seconds)
            case Quota(requests=requests, tokens=quota):
                slot.note_quota(requests, quota)
            case Over(number=number, tokens=tokens):
                del visitor.slots[number]
                slot.tokens = tokens
                slot.release()

    def _refused(self, endpoint: str, slot: Slot, retry_after: float | None) -> None:
        limits = self._limits[endpoint]
        if slot.refused(retry_after):
            rate = limits.rate_limit
            host_log.info(
                "endpoint.limited",
                endpoint=endpoint,
                retry_after=retry_after,
                in_flight=limits.size,
                requests_per_minute=rate and round(60 * rate, 1),
            )

    def _count(self, role: str, kind: Kind | None, last: str) -> None:
        if role not in self._rates:
            return
        rate, calls = self._rates[role]
        calls.note(kind, last)
        try:
            rate.check(calls)
        except RunStopped as stop:
            self._stops.setdefault(role.partition("/")[0], Stop.of(stop))

    async def _serve(self, visitor: _Visitor, want: Want) -> None:
        """Wait in line for one host: for a slot and its money, or for money alone."""
        reservation = self.budget.reservation(want.endpoint, want.usd, divisible=want.divisible)
        try:
            slot = await self._slot(want, reservation) if want.slot else None
            if slot is None:
                await reservation.wait()
        except asyncio.CancelledError:
            reservation.release()
            raise
        visitor.waiting.pop(want.number, None)
        if slot:
            visitor.slots[want.number] = want.endpoint, slot
        elif reservation.held:
            visitor.on_record.add(want.number)
        if reservation.held and reservation.usd > 0:
            visitor.money[want.number] = reservation
        (visitor.granted if slot or reservation.held else visitor.unreserved).append(want.number)

    async def _slot(self, want: Want, reservation: Reservation) -> Slot:
        sizes = self._sizes.setdefault((want.endpoint, want.role), CallSizes(want.longest, want.role))
        limits = self._limits[want.endpoint]
        while (slot := await limits.acquire(sizes, want.prompt_tokens, reservation=reservation)) is None:
            await reservation.wait()
        return slot
