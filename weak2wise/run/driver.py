"""Leases the parts of a work_dir to holders until all are over: the one that decides, and the one that records.

It knows nothing of where holders live. A holder that is lost gets no new lease; its parts are free again once it is
certain that it sends nothing any more.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from weak2wise.errors import RunStopped
from weak2wise.ledger.files import fix_hint
from weak2wise.ledger.lease_record import LeaseRecord
from weak2wise.ledger.leases import LOSSES, Lease, Leases, PartState
from weak2wise.llm.fence import Silence
from weak2wise.run.part_run import PartResult, Task
from weak2wise.run.part_writer import PartWriter
from weak2wise.telemetry.log import log
from weak2wise.watch.board import Board

LOCAL = "this process"
"""The name of a holder in the driver's own process: it ends with it, as the lock of the work_dir shows."""


MOST_PARTS = 8
"""Parts that one holder works on at once, where each waits for its last rows. Each takes some threads and files."""


class HolderLost(Exception):
    """The holder is gone, or cannot be reached.

    ``died``: perhaps by what it worked on. It was not if it has said itself that it stops.
    """

    def __init__(self, why: str, *, died: bool = True) -> None:
        super().__init__(why)
        self.died = died


class Holder(Protocol):
    """One host that works on parts."""

    @property
    def name(self) -> str:
        """What the record calls it; no other one of this start has the same name."""

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        """Work on a part (``PartWorker.work``). Raises ``HolderLost``, and as there.

        Cancelled, it makes the holder stop, for some seconds at most; if that cannot be confirmed, it raises
        ``HolderLost`` then, too.
        """

    def boards(self) -> Sequence[Board]:
        """The facts of the parts that it works on, as far as they are known here."""

    async def gone(self) -> None:
        """Wait until a lost holder certainly sends nothing any more."""


class Holders(Protocol):
    """Where holders come from."""

    def each(self, task: Task) -> AsyncIterator[Holder]:
        """Each holder as it comes up, also one that replaces a lost one. Closed when no part is left."""


class Driver:
    """Leases parts to holders.

    Args:
        leases: the plan of this start.
        record: its record, opened.
        writer: makes the rows of a part available.
        done: called with each part that is over, for now or for good.
        again: called with each part that is leased.
        begun: whether the holder of a lease has begun with it. Blocks.
        silence: after it, the holders of earlier starts send nothing any more; ``None``: it begins now.
    """

    def __init__(
        self,
        leases: Leases,
        record: LeaseRecord,
        writer: PartWriter,
        *,
        done: Callable[[PartState, PartResult], None],
        again: Callable[[int], None],
        begun: Callable[[Lease], bool],
        silence: Silence | None = None,
    ) -> None:
        self._leases = leases
        self._record = record
        self._writer = writer
        self._done = done
        self._again = again
        self._begun = begun
        self._silence = silence or Silence()
        self._changed = asyncio.Condition()
        self.up: dict[str, Holder] = {}
        """The holders that are up, by name."""
        self._may_live_on: set[Lease] = set()
        """Leases whose holders are not known to have stopped."""
        self._more_come = True

    async def run(self, holders: Holders, task: Task) -> None:
        """Lease parts until all are over.

        Raises:
            ExceptionGroup: what stopped a holder, or a part that has lost too many.
        """
        async with asyncio.TaskGroup() as group:
            for part, lease in self._leases.leased().items():
                group.create_task(self._wait_for_lapse(lease, self._leases.states[part].holder))
            coming = group.create_task(self._welcome(holders, task, group))
            async with self._changed:
                await self._changed.wait_for(lambda: self._leases.over)
            coming.cancel()

    async def _welcome(self, holders: Holders, task: Task, group: asyncio.TaskGroup) -> None:
        async for holder in holders.each(task):
            log.info("holder.up", holder=holder.name)
            self.up[holder.name] = holder
            group.create_task(self._serve(holder, group), name=holder.name)
        self._more_come = False
        self._check_holders()

    def _check_holders(self) -> None:
        if not (self.up or self._more_come or self._leases.over):
            raise RunStopped(
                f"no host is left to work on {self._leases.left:,} parts", hint="Start as many as you want again."
            )

    async def _wait_for_lapse(self, lease: Lease, holder: str) -> None:
        """An earlier start's holder may live on, until it notices that nobody speaks to it."""
        if holder != LOCAL:
            self._may_live_on.add(lease)
            log.info("lease.lapses", part=lease.part, holder=holder)
            await self._silence.wait()
            self._may_live_on.discard(lease)
        await self._release(lease, lost=False)

    async def _serve(self, holder: Holder, group: asyncio.TaskGroup) -> None:
        """Lease parts to one holder, the next one whenever it has handed in all rows of the last."""
        lost, room = asyncio.Event(), asyncio.Semaphore(MOST_PARTS)
        while await room.acquire() and (lease := await self._claim(holder, lost)) is not None:
            fed = asyncio.Event()
            working = group.create_task(self._work(holder, lease, fed, lost))
            working.add_done_callback(lambda _: room.release())
            feeding = asyncio.create_task(fed.wait())
            await asyncio.wait({working, feeding}, return_when=asyncio.FIRST_COMPLETED)
            feeding.cancel()

    async def _claim(self, holder: Holder, lost: asyncio.Event) -> Lease | None:
        """The holder's next part, on record, with its rows at hand; ``None`` if there will be none for it."""
        async with self._changed:
            while True:
                if lost.is_set() or self._leases.over:
                    return None
                if lease := self._leases.claim(holder.name):
                    break
                await self._changed.wait()
        await self._record.note(self._leases.states[lease.part])
        self._again(lease.part)
        try:
            await self._writer.reach(lease.part)
        except OSError as error:
            raise RunStopped(f"{error.filename}: {error.strerror}", hint=f"{fix_hint(error)}.") from error
        if lost.is_set():
            await self._release(lease, lost=False)
            return None
        return lease

    async def _work(self, holder: Holder, lease: Lease, fed: asyncio.Event, lost: asyncio.Event) -> None:
        try:
            result = await holder.work(lease, fed.set)
        except HolderLost as error:
            log.warning("holder.lost", holder=holder.name, part=lease.part, why=str(error))
            self._may_live_on.add(lease)
            if (task := asyncio.current_task()) and task.cancelling():
                return  # the run stops, and need not know what became of the holder
            lost.set()
            self.up.pop(holder.name, None)
            fed.set()
            await self._notify()
            self._check_holders()
            await holder.gone()
            self._may_live_on.discard(lease)
            # A part that was never begun has ended nobody: its holder was lost before it knew of the lease.
            await self._release(lease, lost=error.died and await asyncio.to_thread(self._begun, lease))
            return
        if self._leases.finish(lease, result.totals, result.tallies):
            self._done(self._leases.states[lease.part], result)
            await self._record.note(self._leases.states[lease.part])
        await self._notify()

    async def _release(self, lease: Lease, *, lost: bool) -> None:
        if self._leases.release(lease, lost=lost):
            await self._record.note(self._leases.states[lease.part])
            if self._leases.losses[lease.part] >= LOSSES:
                raise RunStopped(
                    f"part {lease.part} (rows {lease.first:,} to {lease.first + lease.rows - 1:,}) has ended {LOSSES} "
                    "holders, one after the other",
                    hint="See the end of run.log in its folders, parts/"
                    f"{lease.part:05d}/epoch-*: one of its rows may need more memory than a host has.",
                )
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def give_back(self) -> None:
        """Record that the parts which are leased are free; call it when the holders have stopped.

        Not those whose holder may live on: the next start waits until their leases have lapsed.
        """
        for lease in self._leases.leased().values():
            if lease in self._may_live_on:
                continue
            self._leases.release(lease, lost=False)
            with suppress(RunStopped):  # it is why the run stops, or will be said when the record is closed
                await self._record.note(self._leases.states[lease.part])
