"""A clock that a test sets, and an event loop whose time passes only while everything waits."""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any

import pytest


class Clock:
    """Monotonic seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class _Skipping(selectors.DefaultSelector):
    """Does not wait: it moves the clock on instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and for nothing")
        if not ready and timeout:
            self._clock.now += timeout
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(_Skipping(clock))

    def time(self) -> float:
        return self._clock.now


def in_virtual_time(main: Coroutine[Any, Any, None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it to its end in a loop of its own; ``time.monotonic`` is the loop's time meanwhile."""
    clock = Clock()
    with monkeypatch.context() as patch, asyncio.Runner(loop_factory=lambda: _VirtualLoop(clock)) as runner:
        patch.setattr(time, "monotonic", clock.monotonic)
        runner.run(main)
