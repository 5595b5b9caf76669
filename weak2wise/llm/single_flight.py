"""Does work once for several askers that want the same result at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


async def single_flight(
    flights: "dict[K, asyncio.Future[T]]", key: K, work: Callable[[], Awaitable[T]], *, keep: bool = False
) -> T:
    """The result of ``work`` for a key. If that work is under way already, wait for it.

    Args:
        flights: the work under way, and with ``keep`` also the results, by key.
        key: what makes two results the same.
        work: what to do, in the task of the first asker. If that task is cancelled, the next asker does its own work.
        keep: leave the result in ``flights``, so that it is never worked out again.

    Raises:
        Exception: as ``work`` does, to every asker that waits for it; errors are never kept.
    """
    while (flight := flights.get(key)) is not None:
        await asyncio.wait([flight])
        if not flight.cancelled():
            return flight.result()
    flight = flights[key] = asyncio.get_running_loop().create_future()
    try:
        result = await work()
    except BaseException as error:
        del flights[key]
        if isinstance(error, asyncio.CancelledError):
            flight.cancel()
        else:
            flight.set_exception(error)
            flight.exception()  # marks it as seen: perhaps no other asker is waiting
        raise
    if not keep:
        del flights[key]
    flight.set_result(result)
    return result
