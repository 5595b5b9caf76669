"""Pure CPU work in worker processes that can be killed, for asyncio.

Some pure functions (computer algebra on text that a model wrote) may run forever, eat all memory or crash the
interpreter. Threads cannot be stopped, so each call runs in a process. The decisions:

* One ``pebble.ProcessPool`` of *one* process per slot, one call at a time in each. A hang, a crash or a broken pool
  is then caused by exactly one call, and no other call waits behind it inside the pool. Calls wait here for a free
  slot, so thousands of waiting calls cost thousands of cheap waiters and nothing else.
* The start method is ``spawn``: our process has threads, so it must not fork.
* The time limit is CPU time, kept by the kernel in the worker itself: SIGPROF ends it, even inside a long C call. So
  neither a process that stood still, nor a clock that was set, nor a busy machine makes a call fail; and imports and
  start-up, which come before the call, do not count.
* No orphans: an idle worker sees its pipe close when this process ends, and a busy one ends at its time limit.
* SIGINT at a terminal reaches every process of the group. Workers are started with it blocked, so they print
  nothing; this process ends them.
"""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from weak2wise.deadline import Deadline
from weak2wise.spawn import MainlessContext

T = TypeVar("T")

MEMORY_LIMIT = 4 << 30
"""Address space of one worker, in bytes: a call that needs more fails alone and does not harm the machine."""
PATIENCE = 60.0
"""Seconds besides the time limit for the start of a worker, and for CPU time on a busy machine."""


class PoolError(Exception):
    """The call has no result, and the function itself is the cause."""


class PoolTimeout(PoolError):
    """The call used up its time limit; its process was killed."""


class PoolCrashed(PoolError):
    """The call ended its process or used up its memory."""


class KillablePool:
    """A few worker processes that run pure functions, each call under a time limit.

    The processes start with the first call and are replaced when they die. One instance belongs to one event loop;
    several instances share nothing.

    Args:
        workers: how many processes, and so how many calls at once; ``None``: one for every eight CPUs, at least two,
            so that a call that hangs does not stop the others. A process starts only when it is needed.
        warm_up: runs in every new worker before its first call, for imports; a module-level function.
    """

    def __init__(self, workers: int | None = None, *, warm_up: Callable[[], object] | None = None) -> None:
        workers = workers or max(2, len(os.sched_getaffinity(0)) // 8)
        self._free: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        self._slots = tuple(_Slot(warm_up) for _ in range(workers))
        for slot in reversed(self._slots):
            self._free.put_nowait(slot)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, fn: Callable[..., T], *args: Any, time_limit: float) -> T:
        """Call ``fn(*args)`` in a worker and return its result.

        ``fn`` must be a module-level function; arguments and result are pickled. What ``fn`` raises is raised here.
        A cancelled call is stopped, and its worker with it.

        Args:
            fn: the function.
            *args: its arguments.
            time_limit: seconds of CPU time it may take, its worker's start-up not counted.

        Raises:
            PoolTimeout: the time limit is used up.
            PoolCrashed: the process died under the call, or the call ran out of memory.
        """
        slot = await self._free.get()
        try:
            return await slot.run(fn, args, time_limit)
        except (ProcessExpired, BrokenProcessPool, MemoryError) as error:
            if isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGPROF:
                raise PoolTimeout(f"{_name(fn)} took longer than {time_limit:g} s") from None
            raise PoolCrashed(f"{_name(fn)} ended its worker: {error!r}") from None
        finally:
            self._free.put_nowait(slot)

    async def close(self) -> None:
        """End all workers, whatever they are doing; a later ``run`` would start new ones."""
        await asyncio.gather(*(slot.stop() for slot in self._slots))


class _Slot:
    """One worker process and the one-process pool that keeps it alive."""

    def __init__(self, warm_up: Callable[[], object] | None) -> None:
        self._warm_up = warm_up
        self._starting: asyncio.Future[ProcessPool] | None = None
        """The pool, once started. If its call is cancelled meanwhile, the next call uses it, or ``stop`` ends it."""

    async def run(self, fn: Callable[..., T], args: tuple[Any, ...], limit: float) -> T:
        try:
            return await self._once(fn, args, limit)
        except BrokenProcessPool:
            # The worker died before it reported that it had taken the call, perhaps while idle: not the call's fault.
            await self.stop()
            return await self._once(fn, args, limit)

    async def _once(self, fn: Callable[..., T], args: tuple[Any, ...], limit: float) -> T:
        pool = await self._running_pool()
        future = asyncio.wrap_future(pool.schedule(_limited, args=(fn, args, limit)))
        try:
            async with Deadline(limit + PATIENCE):
                await asyncio.wait([future])
        except TimeoutError:  # a worker that dies just as it takes a call can leave the pool waiting for it
            future.cancel()
            raise BrokenProcessPool from None
        except asyncio.CancelledError:
            future.cancel()
            raise
        result: T = future.result()
        return result

    async def _running_pool(self) -> ProcessPool:
        starting = self._starting
        if starting is None or (starting.done() and (starting.exception() or not starting.result().active)):
            await self.stop()
            starting = self._starting = asyncio.ensure_future(asyncio.to_thread(_start, self._warm_up))
        await asyncio.wait([starting])  # unlike ``await starting``, this never cancels it
        return starting.result()

    async def stop(self) -> None:
        if self._starting is not None:
            await asyncio.wait([self._starting])
        starting, self._starting = self._starting, None
        if starting is not None and not starting.exception():
            pool = starting.result()
            pool.stop()
            await asyncio.to_thread(pool.join)


def _start(warm_up: Callable[[], object] | None) -> ProcessPool:
    """Start a pool of one with SIGINT blocked, in a thread: its workers and pebble's threads inherit the mask."""
    resource_tracker.ensure_running()  # spawn would start it, and that unblocks SIGINT again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pool = ProcessPool(max_workers=1, initializer=_prepare, initargs=(warm_up,), context=MainlessContext())
        assert pool.active  # asking starts it
        return pool
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(warm_up: Callable[[], object] | None) -> None:
    """Set up a new worker: it ends at once on SIGTERM, stays within its memory limit and has its imports done."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the kernel's own handler works even inside a long C call
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # a lower limit set from outside stays
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_AS)[1]))
    if warm_up is not None:
        warm_up()


def _limited(fn: Callable[..., T], args: tuple[Any, ...], seconds: float) -> T:
    """Run in the worker: the kernel ends this process if the call takes more than so many seconds of CPU time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return fn(*args)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _name(fn: Callable[..., object]) -> str:
    return getattr(fn, "__qualname__", repr(fn))
