"""When a call to an endpoint may be sent: within its limits and the budget, and while the run is not stopping.

``OpenAIModel`` and ``VllmModel`` have replicas and engine slots in between and do this themselves; every other kind of
endpoint is wrapped in this, so that its author writes the call alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.call import Call, current_call
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.errors import ModelError, RateLimited
from weak2wise.llm.limits.limits import Limits, Slot
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Model, Prompt, Usage


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A ``Model`` that asks another one when the call may be sent, and counts what comes of it.

    Attributes:
        model: the endpoint itself.
        limits: the endpoint's; ``None`` for an embedded one, which has room of its own.
        budget: the host's.
        meter: the endpoint's.
        cost: US dollars for a call.
        longest_answer: tokens.
        redact: removes the endpoint's secrets from the messages of its errors.
    """

    model: Model
    limits: Limits | None
    budget: CostBudget
    meter: Meter
    cost: Callable[[Usage], float]
    longest_answer: int
    redact: Callable[[str], str] = str

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does. Raises what it raises."""
        call = current_call()
        while True:
            if self._stopped(call):
                await call.drain.wait_for_cancellation()
            if self.limits is None:
                return await self._send(prompt, call, None)
            slot = await self.limits.acquire(self.longest_answer, lambda: not self._stopped(call))
            if slot is None:
                continue
            try:
                if not self._stopped(call):
                    return await self._send(prompt, call, slot)
            finally:
                slot.release()

    async def _ask(self, prompt: Prompt) -> Completion:
        """What the model answers; the messages of its errors hold no secret."""
        try:
            return await self.model.complete(prompt)
        except (RecordError, RunStopped) as error:
            error.args = (self.redact(str(error)),)
            if isinstance(error, RunStopped):
                error.hint = self.redact(error.hint)
            raise

    def _stopped(self, call: Call) -> bool:
        return call.drain.started or not self.budget.has_budget()

    async def _send(self, prompt: Prompt, call: Call, slot: Slot | None) -> Completion:
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
                self.budget.pay(self.cost(error.usage))
                await call.charge(error.usage)
            raise
        finally:
            call.drain.leave()
        self.meter.answered += 1
        self.meter.took.note(time.monotonic() - began)
        self.budget.pay(self.cost(completion.usage))
        if slot:
            slot.answered(completion.usage.tokens)
        return completion
