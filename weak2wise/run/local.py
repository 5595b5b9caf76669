"""The one holder of a run in parts without a cluster: this process's own host."""

import asyncio
from collections.abc import AsyncIterator, Callable

from weak2wise.config import Config
from weak2wise.ledger.leases import Lease
from weak2wise.llm.drain import Drain
from weak2wise.run.driver import LOCAL, Holder
from weak2wise.run.host import Host
from weak2wise.run.part_run import PartResult, PartWorker, Task
from weak2wise.telemetry.log import Echo
from weak2wise.watch.board import Board


class LocalHolders:
    """The host of this process, opened. ``workers`` has its worker once parts are leased."""

    def __init__(self, config: Config, host: Host, drain: Drain, echo: Echo | None) -> None:
        self._config = config
        self._host = host
        self._drain = drain
        self._echo = echo
        self.workers: list[PartWorker] = []

    async def each(self, task: Task) -> AsyncIterator[Holder]:
        """That host."""
        worker = PartWorker(self._config, self._host, task, drain=self._drain, echo=self._echo)
        self.workers.append(worker)
        yield _LocalHolder(worker)


class _LocalHolder:
    name = LOCAL

    def __init__(self, worker: PartWorker) -> None:
        self._worker = worker

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        return await self._worker.work(lease, fed)

    def boards(self) -> list[Board]:
        return self._worker.boards()

    async def gone(self) -> None:
        """It is gone only together with the driver."""
        await asyncio.sleep(0)
