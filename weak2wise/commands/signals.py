"""How a command that asks models handles the signals that end it."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from weak2wise.commands.say import INTERRUPTED
from weak2wise.llm.drain import Drain
from weak2wise.run.engine import GRACE_SECONDS

T = TypeVar("T")


async def until_signalled(work: Coroutine[Any, Any, T], drain: Drain) -> T | None:
    """The result of the work. On SIGINT, SIGTERM or SIGHUP, wait for calls in flight, cancel it, return ``None``."""
    interrupted = asyncio.Event()

    def on_signal() -> None:
        if interrupted.is_set():
            os._exit(INTERRUPTED)
        interrupted.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, interrupted.set)
    running = asyncio.create_task(work, name="run")
    waiting = asyncio.create_task(interrupted.wait(), name="signals")
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        return running.result()
    await drain.drain(GRACE_SECONDS)
    running.cancel()
    with suppress(asyncio.CancelledError):
        return await running  # it may have finished in the meantime
    return None
