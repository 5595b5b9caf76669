"""The way calls go out, which can be shut so that a stopping run pays for nothing new and keeps what still arrives."""

import asyncio

import structlog

from weak2wise.errors import StopRun
from weak2wise.llm.model import Completion, Model, Prompt

PAID_ANSWERS_SECONDS = 1800.0
"""How long answers that are under way may still arrive when the run has to stop: they will be charged for."""

log = structlog.get_logger()


class Gate:
    """Counts the calls that are under way, which means sent; one per engine."""

    def __init__(self) -> None:
        self.under_way = 0
        self.shut = False
        self._quiet = asyncio.Event()

    def guard(self, model: Model) -> Model:
        """The same model; a call of its that must stop the run does so only once the others have arrived."""
        return _Guarded(model, self)

    async def enter(self) -> None:
        """A call is being sent; once the gate is shut, wait to be cancelled instead."""
        if self.shut:
            await self.park()
        self.under_way += 1

    @staticmethod
    async def park() -> None:
        """Wait to be cancelled."""
        await asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """A call has come back, whatever came of it."""
        self.under_way -= 1
        if self.shut and not self.under_way:
            self._quiet.set()

    async def drain(self, seconds: float) -> None:
        """Let nothing more be sent, and give what was sent this long (seconds) to arrive."""
        self.shut = True
        if self.under_way:
            try:
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()
            except TimeoutError:
                pass


class _Guarded:
    def __init__(self, model: Model, gate: Gate) -> None:
        self._model = model
        self._gate = gate

    async def complete(self, prompt: Prompt, /) -> Completion:
        try:
            return await self._model.complete(prompt)
        except StopRun as stop:
            if not self._gate.shut and self._gate.under_way:
                log.warning("run.stopping", why=str(stop)[:300], waiting_for=self._gate.under_way, at_once="Ctrl-C")
            await self._gate.drain(PAID_ANSWERS_SECONDS)
            raise
