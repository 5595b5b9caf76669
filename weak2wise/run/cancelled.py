"""Runs something for a Python program, which may cancel it: what is in flight may still arrive."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.llm.drain import Drain

T = TypeVar("T")


async def drained_when_cancelled(running: Coroutine[Any, Any, T], drain: Drain, seconds: float) -> T:
    """Await it. If this is cancelled, send nothing more and wait so many seconds for what is in flight.

    Raises:
        ConfigError, RunStopped: what it raised, also inside a group.
    """
    task = asyncio.create_task(running, name="run")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await drain.drain(seconds)
        finally:  # also if cancelled once more
            task.cancel()
            await asyncio.wait([task])
        raise
    except BaseExceptionGroup as group:
        for kind in (ConfigError, RunStopped):
            if found := [error for error in single_errors(group) if isinstance(error, kind)]:
                raise found[0] from group
        raise
