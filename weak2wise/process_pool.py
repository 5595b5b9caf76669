"""Pure CPU work in worker processes that can be killed, for asyncio.

Some pure functions (computer algebra on text that a model wrote) may run forever, eat all memory or crash the
interpreter. Threads cannot be stopped, so each call runs in a process. The decisions:

* One ``pebble.ProcessPool`` of *one* process per slot, one call at a time in each. A hang, a crash or a broken pool
  is then caused by exactly one call, and no other call waits behind it inside the pool. Calls wait here for a free
  slot, so thousands of waiting calls cost thousands of cheap waiters and nothing else.
* The start method is ``spawn``: our process has threads, so it must not fork.
* pebble starts the clock when the worker takes a call, which is after ``warm_up`` has run there: imports and
  start-up never count against the time limit.
* No orphans: an idle worker sees its pipe close when this process ends, and a busy one has its own kernel timer
  (SIGALRM, which needs neither this process nor the interpreter lock) that ends it shortly after the time limit.
* SIGINT at a terminal reaches every process of the group. Workers are started with it blocked, so they print
  nothing; this process ends them.
"""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from weak2wise.spawn import MainlessContext

T = TypeVar("T")

MEMORY_LIMIT = 4 << 30
"""Address space of one worker, in bytes: a call that needs more fails alone and does not harm the machine."""
GRACE = 2.0
"""Seconds after the time limit of its call at which a worker ends itself, if no process is left to stop it."""
START_SECONDS = 30.0
"""The longest time until a new worker has run ``warm_up``."""


class PoolError(Exception):
    """The call has no result, and the function itself is the cause."""


class PoolTimeout(PoolError):
    """The call ran longer than its time limit; its process was killed."""


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
            time_limit: seconds it may take, its worker's start-up not counted.

        Raises:
            PoolTimeout: the time limit has passed.
            PoolCrashed: the process died under the call, or the call ran out of memory.
        """
        slot = await self._free.get()
        try:
            return await slot.run(fn, args, time_limit)
        except FutureTimeout:
            raise PoolTimeout(f"{_name(fn)} took longer than {time_limit:g} s") from None
        except (ProcessExpired, BrokenProcessPool, MemoryError) as error:
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
        future = asyncio.wrap_future(pool.schedule(_guarded, args=(fn, args, limit + GRACE), timeout=limit))
        try:
            done, _ = await asyncio.wait([future], timeout=START_SECONDS + limit + GRACE)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if not done:  # a worker that dies just as it takes a call can leave the pool waiting for it
            future.cancel()
            raise BrokenProcessPool
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
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):  # a lower limit set from outside stays
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_AS)[1]))
    if warm_up is not None:
        warm_up()


def _guarded(fn: Callable[..., T], args: tuple[Any, ...], last_resort: float) -> T:
    """Run in the worker: the kernel ends this process ``last_resort`` seconds from now if the call has not ended."""
    signal.setitimer(signal.ITIMER_REAL, last_resort)
    try:
        return fn(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _name(fn: Callable[..., object]) -> str:
    return getattr(fn, "__qualname__", repr(fn))
