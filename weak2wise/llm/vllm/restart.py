"""Starts an embedded engine again when it dies, and repeats the calls it had.

Most engines die because of the machine (memory, a killed worker), not because of a prompt, so the run can go on. But a
prompt may be the cause, and would kill the new engine, too: hence the limit for the whole run.
"""

import asyncio
from typing import Protocol

from weak2wise.errors import ConfigError
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.llm.vllm.errors import HINT, EngineDied
from weak2wise.telemetry.log import host_log

LONGEST_WAIT = 60.0


class RestartableModel(Model, Protocol):
    """A model on an engine that can die and be started again."""

    name: str

    async def open(self) -> None:
        """Start the engine. Raises ``EngineDied`` or ``ConfigError``."""
        ...

    async def close(self) -> None:
        """End what is left of it."""
        ...


class Restarted:
    """A ``Model`` that restarts its engine up to ``max_restarts`` times, after growing pauses (seconds)."""

    def __init__(self, model: RestartableModel, *, max_restarts: int, first_wait: float = 1.0) -> None:
        self._model = model
        self._left = max_restarts
        self._wait = first_wait
        self._starts = 0
        self._restarting = asyncio.Lock()
        self._final: EngineDied | None = None

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer, after a restart if needed.

        Raises:
            RecordError: as the model does.
            EngineDied: the engine died, with its last error, and no restart is left.
        """
        while True:
            start = self._starts
            try:
                return await self._model.complete(prompt)
            except EngineDied as died:
                await self._restart(start, died)

    async def _restart(self, start: int, died: EngineDied) -> None:
        """Start the engine again unless another call has done so since start number ``start``."""
        async with self._restarting:
            while start == self._starts:
                self._final = self._final or (None if self._left else died)
                if self._final:  # the first error has the cause; later ones only find no engine
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
                except (EngineDied, ConfigError) as error:  # it did start once, so the config is not the cause
                    died = error if isinstance(error, EngineDied) else EngineDied(str(error), hint=HINT)
                else:
                    self._starts += 1
