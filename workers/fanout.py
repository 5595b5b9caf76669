"""Many calls at once inside one record."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from weak2wise.errors import Parked, RecordError

T = TypeVar("T")


async def fan_out(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run calls concurrently and return their results in order.

    One that fails does not cancel the others: they are paid for, and their answers are kept for the next try.

    Raises:
        RecordError: the first failure in order, once all have ended.
        Parked: as ``all_settled``.
        ExceptionGroup: anything else, at once.
    """
    results = []
    for result in await all_settled(calls):
        if isinstance(result, RecordError):
            raise result
        results.append(result)
    return results


async def all_settled(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T | RecordError]:
    """The results in order, once all have ended; a failed call has its error in its place.

    Raises:
        Parked: some wait for a batch, so that the row is taken up again when all are there.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_parked(settled(call))) for call in calls]
    results = [task.result() for task in tasks]
    if parked := next((result for result in results if isinstance(result, Parked)), None):
        raise parked
    return [result for result in results if not isinstance(result, Parked)]


async def settled(call: Coroutine[Any, Any, T]) -> T | RecordError:
    """The call's result, or the failure that concerns this record alone, as a value."""
    try:
        return await call
    except RecordError as error:
        return error


async def _parked(call: Coroutine[Any, Any, T]) -> T | Parked:
    """The call's result, or, as a value, that it waits for a batch: the others are still to be asked."""
    try:
        return await call
    except Parked as parked:
        return parked
