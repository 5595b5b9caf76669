"""What runs in Ray's processes: a host that works on parts, and the desk. ``holders`` makes actors of these classes.

Keys come by a method call, since Ray shows the arguments of constructors and the environment that it is asked to make.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from ray.exceptions import RayError, RayTaskError

from weak2wise.cluster.outcomes import Done, Ended, Outcome, encoded, outcome_of, said
from weak2wise.config import Config
from weak2wise.errors import RunStopped
from weak2wise.ledger.leases import LEASE_SECONDS, Lease
from weak2wise.llm.desk.client import DeskClient
from weak2wise.llm.desk.desk import Desk
from weak2wise.llm.desk.messages import Reply, Report
from weak2wise.llm.drain import PAID_ANSWERS_SECONDS, Drain
from weak2wise.llm.fence import Fence, now
from weak2wise.llm.http.open_files import raise_open_files
from weak2wise.run.desk import desk_for
from weak2wise.run.host import Host
from weak2wise.run.part_run import PartWorker, Task

FENCE_LOOK_SECONDS = 0.5
ORPHAN_SECONDS = 60.0
"""How long a host that may not send any more waits for answers that are paid for, and for the driver."""


class DeskActor:
    """The desk, on the head of the cluster."""

    def __init__(self) -> None:
        self._desk: Desk | None = None

    async def open(self, config: Config, spent: float, hosts: int) -> None:
        """Begin with what earlier starts have spent (US dollars), for about so many hosts."""
        self._desk = desk_for(config, spent=spent, hosts=hosts)

    async def visit(self, report: bytes) -> bytes:
        """``Desk.visit``, in bytes."""
        assert self._desk
        return msgspec.msgpack.encode(await self._desk.visit(_REPORT.decode(report)))

    async def give_up(self, host: str) -> None:
        """``Desk.give_up``."""
        assert self._desk
        self._desk.give_up(host)

    async def lives(self) -> None:
        """Answer, to show that it does."""


def cores(available: Iterable[int], number: int, of: int) -> str:
    """The ``number``th of ``of`` shares of these cores, at least one, in vLLM's words; else each would take all."""
    known = sorted(available)
    begin, end = len(known) * number // of, len(known) * (number + 1) // of
    return ",".join(map(str, known[begin:end] or known[begin : begin + 1]))


_REPORT = msgspec.msgpack.Decoder(Report)
_REPLY = msgspec.msgpack.Decoder(Reply)
_LEASE = msgspec.msgpack.Decoder(Lease)


class EngineHost:
    """One host of the cluster.

    It sends nothing while it has not heard from the driver for ``LEASE_SECONDS``; a minute later it ends its process.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._fence = Fence()
        self._drain = Drain(self._fence)
        self._fed: dict[tuple[int, int], asyncio.Event] = {}
        self._stop: asyncio.Future[Outcome] | None = None
        self._host: Host | None = None
        self._worker: PartWorker | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._client: DeskClient | None = None

    async def open(
        self, config: Config, task: Task, *, keys: Mapping[str, str], folder: str, desk: Any, share: tuple[int, int]
    ) -> bytes:
        """Get ready.

        Args:
            config: the run's.
            task: what all parts have in common.
            keys: the driver's environment variables with keys; this process's own go first.
            folder: the driver's current one, to which paths are relative.
            desk: the desk's actor.
            share: which share of the machine's cores an embedded engine on the CPU takes, and of how many.
        """
        self._fence = Fence()  # the time before that does not count
        self._drain = Drain(self._fence)
        with suppress(OSError):
            os.chdir(folder)
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", cores(os.sched_getaffinity(0), *share))

        async def visit(report: Report) -> Reply:
            return _REPLY.decode(await desk.visit.remote(msgspec.msgpack.encode(report)))

        try:
            limits = [config.endpoints[name].limits for name in dict.fromkeys(config.roles().values())]
            raise_open_files([limit.max_concurrent_requests for limit in limits])
            self._client = DeskClient(self._name, visit, config.engine.max_cost_usd)
            self._host = Host(config, env={**keys, **os.environ}, desk=self._client)
            await self._host.__aenter__()
            self._worker = PartWorker(config, self._host, task, drain=self._drain)
            await self._client.visit()
        except RayError:
            raise  # the desk cannot be reached from here
        except Exception as error:  # noqa: BLE001 - said to the driver
            return encoded(outcome_of(error))
        self._stop = asyncio.get_running_loop().create_future()
        for watch in (self._visit(self._client), self._watch_budget(self._client), self._watch_fence()):
            self._tasks.append(asyncio.create_task(watch))
        return encoded(Done())

    async def hear(self, answered: float) -> tuple[float, bytes]:
        """The driver lives, and has had the answer of that time. Returns the time here, and the boards under way."""
        self._fence.heard(answered)
        return now(), msgspec.msgpack.encode(self._worker.boards() if self._worker else [])

    async def work(self, lease: bytes) -> bytes:
        """Work on a part; an ``Outcome``."""
        one = _LEASE.decode(lease)
        assert self._worker
        assert self._stop
        fed = self._event(one.part, one.epoch)
        working = asyncio.create_task(self._worker.work(one, fed.set))
        try:
            either: list[asyncio.Future[Any]] = [working, self._stop]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return encoded(Done(working.result()))
            working.cancel()
            await asyncio.wait([working])
            return encoded(self._stop.result())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - said to the driver
            return encoded(outcome_of(error))
        finally:
            fed.set()
            del self._fed[one.part, one.epoch]

    async def fed(self, part: int, epoch: int) -> None:
        """Return once all rows of a part have been handed in; call it after ``work``."""
        if event := self._fed.get((part, epoch)):
            await event.wait()

    async def stop(self, seconds: float) -> None:
        """Send nothing more; wait so long for answers in flight, then end all work and tell the desk."""
        await self._drain.drain(seconds)
        self._end(Ended("stopped"))

    async def close(self) -> None:
        """Close the host."""
        for task in self._tasks:
            task.cancel()
        if self._host:
            await self._host.__aexit__(None, None, None)

    def _event(self, part: int, epoch: int) -> asyncio.Event:
        self._fed[part, epoch] = asyncio.Event()
        return self._fed[part, epoch]

    def _end(self, outcome: Outcome) -> None:
        if self._stop and not self._stop.done():
            self._stop.set_result(outcome)

    async def _stop_for(self, error: RunStopped) -> None:
        await self._drain.drain(PAID_ANSWERS_SECONDS)
        self._end(outcome_of(error))

    async def _visit(self, client: DeskClient) -> None:
        """Visit the desk; this host ends without one. The driver sees for itself whether the desk is lost."""
        outcome: Outcome = Ended("the desk has given this host up")
        try:
            await client.run()
        except RayTaskError as error:
            outcome = outcome_of(error)
        except RayError as error:
            outcome = Ended(f"the desk cannot be reached: {said(error)}")
        except Exception as error:  # noqa: BLE001 - said to the driver
            outcome = outcome_of(error)
        await self._drain.drain(ORPHAN_SECONDS)
        self._end(outcome)

    async def _watch_budget(self, client: DeskClient) -> None:
        await client.budget.exhausted.wait()
        await self._stop_for(client.budget.stop())

    async def _watch_fence(self) -> None:
        while self._fence.silence < LEASE_SECONDS + ORPHAN_SECONDS:  # noqa: ASYNC110 - no timer of the loop follows it
            await asyncio.sleep(FENCE_LOOK_SECONDS)
        self._end(Ended("nothing was heard of the driver"))
        await asyncio.sleep(1.0)  # for what is closed now
        os._exit(1)
