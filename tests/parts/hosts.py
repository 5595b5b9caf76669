"""Hosts in this process that work on parts, as a cluster's do in theirs."""

import asyncio
from collections.abc import AsyncIterator, Callable

from weak2wise.config import Config
from weak2wise.ledger.leases import Lease
from weak2wise.run.driver import Holder, HolderLost
from weak2wise.run.host import Host
from weak2wise.run.part_run import PartResult, PartWorker, Task
from weak2wise.watch.board import Board


class HostHere:
    """A holder with a host of its own. ``kill``: its parts are lost."""

    def __init__(self, name: str, config: Config, task: Task) -> None:
        self.name = name
        self._config = config
        self._task = task
        self._worker: PartWorker | None = None
        self._opening = asyncio.Lock()
        self._host: Host | None = None
        self.leases: list[Lease] = []
        self.killed = asyncio.Event()

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        self.leases.append(lease)
        async with self._opening:
            if self._worker is None:
                self._host = await Host(self._config).__aenter__()
                self._worker = PartWorker(self._config, self._host, self._task)
        working = asyncio.create_task(self._worker.work(lease, fed))
        killed = asyncio.create_task(self.killed.wait())
        try:
            await asyncio.wait({working, killed}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise HolderLost("killed")
            return working.result()
        finally:
            killed.cancel()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)  # nobody hears of a killed host's end

    def boards(self) -> list[Board]:
        return self._worker.boards() if self._worker else []

    async def gone(self) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        if self._host:
            await self._host.__aexit__(None, None, None)


class HostsHere:
    """``number`` such hosts; one that is killed is replaced."""

    def __init__(self, config: Config, number: int) -> None:
        self._config = config
        self._number = number
        self.up: list[HostHere] = []

    async def each(self, task: Task) -> AsyncIterator[Holder]:
        try:
            while True:
                living = [host for host in self.up if not host.killed.is_set()]
                for _ in range(self._number - len(living)):
                    self.up.append(HostHere(f"host-{len(self.up)}", self._config, task))
                    yield self.up[-1]
                await asyncio.sleep(0.05)
        finally:
            for host in self.up:
                await host.close()
