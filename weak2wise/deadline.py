"""A time limit that counts only the time for which this process was running.

A process may stand still: SIGSTOP, ``docker pause``, a machine that sleeps or swaps. When it goes on, every timer is
due at once, while the answers it waits for may lie in the sockets, whole and paid for. The time-outs of asyncio and
aiohttp throw them away. A ``Deadline`` notices that its timer is late, adds the time that was lost, and gives up only
after the event loop has had the chance to read.
"""

import asyncio
import math
from time import monotonic
from types import TracebackType
from typing import Self

LATE = 0.1
"""Seconds. A timer that is later than this was held up: the process stood still, or the event loop was busy."""
LOOKS, LONGEST_LOOK = 8, 60.0
"""How often a deadline looks whether the process stood still, and at most how many seconds pass between two looks."""
LAST_LOOK = 1.0
"""Seconds before the end at which it looks for the last time, so that there is always time to read what has arrived."""


class Deadline:
    """Raises ``TimeoutError`` in the ``async with`` block that takes longer than ``seconds``; ``math.inf``: never."""

    __slots__ = ("_cancels", "_due", "_end", "_handle", "_last", "_loop", "_over", "_seconds", "_step", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step = min(LONGEST_LOOK, seconds / LOOKS)
        self._last = min(LAST_LOOK, seconds / 2)
        self._end = math.inf
        self._over = False
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        if self._seconds < math.inf:
            # asyncio.timeout does the same, with four times the calls: every request has a deadline.
            task = asyncio.current_task()
            assert task
            self._task, self._cancels = task, task.cancelling()
            self._loop = asyncio.get_running_loop()
            now = monotonic()
            self._end = now + self._seconds
            self._look_again(now)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._handle is None:
            return
        self._handle.cancel()
        # If somebody else has cancelled the task as well, the cancellation goes on.
        if self._over and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def renew(self) -> None:
        """Begin again: what was waited for shows signs of life."""
        self._end = monotonic() + self._seconds

    def _look_again(self, now: float) -> None:
        left = self._end - now
        wait = min(self._step, left - self._last) if left > self._last else left
        self._due = now + wait
        self._handle = self._loop.call_later(wait, self._look)

    def _look(self) -> None:
        now = monotonic()
        late = now - self._due
        if late > LATE:
            self._end = max(self._end + late, now + self._last)
        if now < self._end:
            self._look_again(now)
        else:
            self._over = True
            self._task.cancel()
