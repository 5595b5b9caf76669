"""Keeps a holder that the driver takes for lost from sending: each of the two has a clock of its own.

The holder stops ``LEASE_SECONDS`` after the last word that it has heard. The driver waits for longer, from the last
word that it has said: that is the latest one that can have been heard. Both go by time that also passes while a process
is stopped or the machine sleeps; so a holder that wakes up sends nothing, however long it thinks it was away.
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
    """The holder's side. Once lapsed it stays so: the driver may have leased the part to somebody else."""

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._heard = now()
        self._lapsed = False

    def heard(self) -> None:
        """The driver has said something."""
        if not self.lapsed:
            self._heard = now()

    @property
    def lapsed(self) -> bool:
        """Whether nothing may be sent any more."""
        if not self._lapsed:
            self._lapsed = now() - self._heard >= self._seconds
        return self._lapsed


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
