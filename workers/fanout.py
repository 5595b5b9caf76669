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
        ExceptionGroup: anything else, at once; of a single call it is not in a group.
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
    each = [_ended(call) for call in calls]
    if len(each) == 1:  # as most often: no task is needed
        results = [await each[0]]
    else:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in each]
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


async def _ended(call: Coroutine[Any, Any, T]) -> T | RecordError | Parked:
    """As ``settled``; also that it waits for a batch is a value: the others are still to be asked."""
    try:
        return await call
    except (RecordError, Parked) as error:
        return error
