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

    ``fence``: nothing is sent either once it has lapsed.
    """

    def __init__(self, fence: Fence | None = None) -> None:
        self.under_way = 0
        self._fence = fence
        self._begun = False
        self._quiet = asyncio.Event()

    @property
    def started(self) -> bool:
        """Whether nothing may be sent any more."""
        return self._begun or (self._fence is not None and self._fence.lapsed)

    async def enter(self) -> None:
        """Count a call that is being sent. Once draining has started, wait for cancellation instead."""
        if self.started:
            await self.wait_for_cancellation()
        self.under_way += 1

    @staticmethod
    async def wait_for_cancellation() -> None:
        """Wait until this task is cancelled."""
        await asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """A call has come back, with or without an answer."""
        self.under_way -= 1
        if self.started and not self.under_way:
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
