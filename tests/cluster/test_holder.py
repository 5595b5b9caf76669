"""What the driver knows of a holder that it stops."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")

from weak2wise.cluster import holders
from weak2wise.cluster.holders import RayHolder
from weak2wise.cluster.outcomes import Ended, encoded
from weak2wise.cluster.places import Place
from weak2wise.ledger.leases import Lease
from weak2wise.run.driver import HolderLost

LEASE = Lease(part=1, epoch=1, first=1, rows=2)


class Actor:
    """A host that works for ever, and stops when it is told to, if it hears of it."""

    def __init__(self, *, hears: bool) -> None:
        self._hears = hears
        self._stopped = asyncio.Event()
        self.working = asyncio.Event()
        for name in ("work", "fed", "stop"):
            setattr(self, name, SimpleNamespace(remote=getattr(self, f"_{name}")))

    async def _work(self, _lease: bytes) -> bytes:
        self.working.set()
        await self._stopped.wait()
        return encoded(Ended("stopped"))

    async def _fed(self, _part: int, _epoch: int) -> None:
        await self._stopped.wait()

    async def _stop(self, _seconds: float) -> None:
        if not self._hears:
            await asyncio.Event().wait()
        self._stopped.set()


async def stopping(actor: Any) -> BaseException | None:
    """How the work of a host ends that is stopped."""
    holder = RayHolder("host", Place(node_id="n", node="n", number=0, of=1, cpus=1, gpus=0), actor, lambda: 0.0)
    working = asyncio.create_task(holder.work(LEASE, lambda: None))
    await actor.working.wait()
    working.cancel()
    (ended,) = await asyncio.gather(working, return_exceptions=True)
    assert holder.quiet.is_set()
    return ended if isinstance(ended, BaseException) else None


async def test_a_holder_that_says_that_it_has_stopped_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "CLOSE_SECONDS", 5.0)
    assert isinstance(await stopping(Actor(hears=True)), asyncio.CancelledError)


async def test_a_holder_that_does_not_say_that_it_has_stopped_may_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """So its part is not given to another one at once."""
    monkeypatch.setattr(holders, "CLOSE_SECONDS", 0.2)
    assert isinstance(await stopping(Actor(hears=False)), HolderLost)
