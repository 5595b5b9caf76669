"""Keeps a holder that the driver takes for lost from sending: each of the two has a clock of its own.

The holder says the time on its clock with each answer to the driver, and the driver says it back with its next word.
So a word counts from the moment of the answer that it returns, however late it arrives. The holder stops
``LEASE_SECONDS`` after that, until a newer word comes. The driver waits for longer, from its last word: every answer
was given before the word that returned it. Both go by time that also passes while a process is stopped or the machine
sleeps; so a holder that wakes up sends nothing, however long it thinks it was away.
"""

import asyncio
import time

from weak2wise.ledger.leases import LEASE_SECONDS

_MARGIN = 1.1
"""Clocks of two machines differ in speed, and a call that was just let through takes a moment to be sent."""


def now() -> float:
    """Seconds since this machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """The holder's side. A driver that takes the holder for lost says nothing more to it, so it stays lapsed then."""

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._heard = now()
        self._renewed = asyncio.Event()

    def heard(self, answered: float) -> None:
        """The driver has had the answer that was given at ``answered``, by ``now``."""
        self._heard = max(self._heard, answered)
        if not self.lapsed:
            self._renewed.set()
            self._renewed = asyncio.Event()

    @property
    def silence(self) -> float:
        """For how many seconds nothing was heard."""
        return now() - self._heard

    @property
    def lapsed(self) -> bool:
        """Whether nothing may be sent."""
        return self.silence >= self._seconds

    async def renewed(self) -> None:
        """Wait until something may be sent."""
        while self.lapsed:
            await self._renewed.wait()


class Silence:
    """The driver's side of one holder."""

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds * _MARGIN
        self._said = now()

    def said(self) -> None:
        """Call it before each word to the holder, whether that arrives or not."""
        self._said = now()

    async def wait(self) -> None:
        """Wait until the holder sends nothing any more, if nothing is said to it meanwhile."""
        if (left := self._said + self._seconds - now()) > 0:
            await asyncio.sleep(left)
            await self.wait()
