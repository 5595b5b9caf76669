"""How a run stops: nothing new is sent; answers in flight may still arrive, since they will be charged."""

import asyncio

from weak2wise.deadline import Deadline
from weak2wise.errors import RunStopped
from weak2wise.llm.fence import Fence
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.telemetry.log import log

PAID_ANSWERS_SECONDS = 1800.0
"""How long to wait for answers in flight when the run has to stop."""


class Drain:
    """Counts the calls of one run that are under way: sent, and not back yet.

    ``fence``: nothing is sent either while it has lapsed.
    """

    def __init__(self, fence: Fence | None = None) -> None:
        self.under_way = 0
        self._fence = fence
        self._begun = False
        self._quiet = asyncio.Event()

    @property
    def started(self) -> bool:
        """Whether nothing may be sent: for ever, or until the fence is renewed."""
        return self._begun or (self._fence is not None and self._fence.lapsed)

    async def enter(self) -> None:
        """Count a call that is being sent, as soon as it may be."""
        if self.started:
            await self.reopened()
        self.under_way += 1

    async def reopened(self) -> None:
        """Wait until something may be sent. Once draining has begun, that is until this task is cancelled."""
        if self._fence is not None and not self._begun:
            await self._fence.renewed()
        if self._begun:
            await asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """A call has come back, with or without an answer."""
        self.under_way -= 1
        if self._begun and not self.under_way:
            self._quiet.set()

    async def drain(self, seconds: float) -> None:
        """Let nothing more be sent, and wait up to ``seconds`` for the calls under way."""
        self._begun = True
        if self.under_way:
            try:
                async with Deadline(seconds):
                    await self._quiet.wait()
            except TimeoutError:
                pass


class DrainedBeforeStop:
    """A ``Model`` that delays ``RunStopped`` until the other calls of the run that are under way have arrived."""

    def __init__(self, model: Model, drain: Drain) -> None:
        self._model = model
        self._drain = drain

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does. Raises what it raises."""
        try:
            return await self._model.complete(prompt)
        except RunStopped as stop:
            if not self._drain.started and self._drain.under_way:
                log.warning("run.stopping", why=str(stop)[:300], waiting_for=self._drain.under_way, at_once="Ctrl-C")
            await self._drain.drain(PAID_ANSWERS_SECONDS)
            raise
