"""The way calls go out, which can be shut so that a stopping run pays for nothing new and keeps what still arrives."""

import asyncio

from weak2wise.llm.model import Completion, Model, Prompt


class Gate:
    """Counts the calls under way; one per engine."""

    def __init__(self) -> None:
        self.under_way = 0
        self.shut = False
        self._quiet = asyncio.Event()

    def guard(self, model: Model) -> Model:
        """The same model behind this gate."""
        return _Guarded(model, self)

    async def enter(self) -> None:
        """Begin a call; once the gate is shut, wait to be cancelled instead."""
        if self.shut:
            await asyncio.get_running_loop().create_future()
        self.under_way += 1

    def leave(self) -> None:
        """End a call."""
        self.under_way -= 1
        if self.shut and not self.under_way:
            self._quiet.set()

    async def park(self) -> None:
        """Wait to be cancelled, in the middle of a call that is not to go out after all; it is under way no longer."""
        self.leave()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.under_way += 1  # for its guard to take back

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
        await self._gate.enter()
        try:
            return await self._model.complete(prompt)
        finally:
            self._gate.leave()
