"""When a call to an endpoint may be sent: within its limits and the budget, and while the run is not stopping.

``OpenAIModel`` and ``VllmModel`` have replicas and engine slots in between and do this themselves; every other kind of
endpoint is wrapped in this, so that its author writes the call alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.call import Call, current_call
from weak2wise.llm.cost import CostBudget, Reservation
from weak2wise.llm.errors import ModelError, RateLimited
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limiter import AnySlot, Limiter
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import CHARACTERS_PER_TOKEN, Completion, Model, Prompt, Usage
from weak2wise.llm.worst_case import WorstCase


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A ``Model`` that asks another one when the call may be sent, and counts what comes of it.

    Attributes:
        model: the endpoint itself.
        limits: the endpoint's; ``None`` for an embedded one, which has room of its own.
        budget: the host's.
        meter: the endpoint's.
        cost: US dollars for a call.
        worst_case: the most that one may cost.
        longest_answer: tokens.
        redact: removes the endpoint's secrets from the messages of its errors.
    """

    model: Model
    limits: Limiter | None
    budget: CostBudget
    meter: Meter
    cost: Callable[[Usage], float]
    worst_case: WorstCase
    longest_answer: int
    sizes: dict[str, CallSizes] = field(default_factory=dict)
    """By role."""
    redact: Callable[[str], str] = str

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does. Raises what it raises."""
        call = current_call()
        length = prompt.size
        usd = 0.0 if self.budget.max_usd is None else self.worst_case.usd(length)
        reservation = self.budget.reservation(self.worst_case.endpoint, usd)
        sizes = self.sizes.get(call.role) or self.sizes.setdefault(call.role, CallSizes(self.longest_answer, call.role))
        try:
            while True:
                if call.drain.started:
                    reservation.release()
                    await call.drain.reopened()
                if self.limits is None:
                    await reservation.wait()
                    if call.drain.started:
                        continue
                    return await self._send(prompt, length, call, None, reservation)
                slot = await self.limits.acquire(
                    sizes,
                    length / CHARACTERS_PER_TOKEN,
                    wanted=lambda: not call.drain.started,
                    reservation=reservation,
                )
                if slot is None:
                    await reservation.wait()
                    continue
                try:
                    if not call.drain.started:
                        return await self._send(prompt, length, call, slot, reservation)
                finally:
                    slot.release()
        finally:
            reservation.release()

    async def _ask(self, prompt: Prompt) -> Completion:
        """What the model answers; the messages of its errors hold no secret."""
        try:
            return await self.model.complete(prompt)
        except (RecordError, RunStopped) as error:
            error.args = (self.redact(str(error)),)
            if isinstance(error, RunStopped):
                error.hint = self.redact(error.hint)
            raise

    async def _send(
        self, prompt: Prompt, length: int, call: Call, slot: AnySlot | None, reservation: Reservation
    ) -> Completion:
        await call.drain.enter()
        self.meter.sent += 1
        began = time.monotonic()
        try:
            completion = await self._ask(prompt)
        except ModelError as error:
            self.meter.faults[error.kind] += 1
            if slot and isinstance(error, RateLimited):
                slot.refused(error.retry_after)
            if error.usage:
                reservation.settle(self.cost(error.usage))
                await call.charge(error.usage)
            raise
        finally:
            call.drain.leave()
        self.meter.answered += 1
        self.meter.took.note(time.monotonic() - began)
        reservation.settle(self.cost(completion.usage))
        self.worst_case.note(length, completion.usage)
        if slot:
            slot.answered(completion.usage.tokens)
        return completion
