"""An embedded engine that dies is started again in place, and what was asked of it is asked again.

An engine dies of its machine (memory, a killed worker) far more often than of a prompt, so the run need not end with
it. But it may die of a prompt, and then it would die again: hence the limit, over the whole run.
"""

import asyncio
from typing import Protocol

from weak2wise.errors import ConfigError
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.llm.vllm.errors import HINT, EngineDied
from weak2wise.telemetry.log import host_log

LONGEST_WAIT = 60.0


class Mortal(Model, Protocol):
    """A model on an engine that can die and be started again."""

    name: str

    async def open(self) -> None:
        """Bring the engine up. Raises ``EngineDied`` or ``ConfigError``."""
        ...

    async def close(self) -> None:
        """Take down what is left of it."""
        ...


class Restarted:
    """A ``Model`` that outlives its engine ``max_restarts`` times, a growing pause (seconds) before each new one."""

    def __init__(self, model: Mortal, *, max_restarts: int, first_wait: float = 1.0) -> None:
        self._model = model
        self._left = max_restarts
        self._wait = first_wait
        self._life = 0
        self._reviving = asyncio.Lock()
        self._final: EngineDied | None = None

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer, if need be after a restart.

        Raises:
            RecordError: as the model does.
            EngineDied: with its last words, once too often.
        """
        while True:
            life = self._life
            try:
                return await self._model.complete(prompt)
            except EngineDied as died:
                await self._revive(life, died)

    async def _revive(self, life: int, died: EngineDied) -> None:
        """Start the engine that ended with ``life``, unless somebody has."""
        async with self._reviving:
            while life == self._life:
                self._final = self._final or (None if self._left else died)
                if self._final:  # the first to be told knows why; who comes later finds no engine at all
                    raise self._final
                self._left -= 1
                host_log.warning(
                    "vllm.restarting", endpoint=self._model.name, restarts_left=self._left, message=str(died)
                )
                await self._model.close()
                await asyncio.sleep(self._wait)
                self._wait = min(2 * self._wait, LONGEST_WAIT)
                try:
                    await self._model.open()
                except (EngineDied, ConfigError) as error:  # it did start once, so the config is not to blame
                    died = error if isinstance(error, EngineDied) else EngineDied(str(error), hint=HINT)
                else:
                    self._life += 1
