"""A time limit counts the time for which the process was running, and no other."""

import asyncio
import math
import time

import pytest

from weak2wise.deadline import Deadline
from weak2wise.llm.drain import Drain


async def test_a_deadline_ends_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Deadline(0.4):
            await asyncio.sleep(60)
    assert 0.39 < time.monotonic() - began < 1.5


@pytest.mark.slow
async def test_a_deadline_that_is_renewed_goes_on() -> None:
    async with Deadline(0.4) as deadline:
        for _ in range(8):
            await asyncio.sleep(0.1)
            deadline.renew()
    with pytest.raises(TimeoutError):
        async with Deadline(0.4) as deadline:
            deadline.renew()
            await asyncio.sleep(60)


@pytest.mark.slow
async def test_time_for_which_the_process_stood_still_does_not_count() -> None:
    """The event loop does not run for longer than the whole time limit; half of it was left."""
    async with Deadline(1.0):
        await asyncio.sleep(0.5)
        time.sleep(1.5)
        await asyncio.sleep(0.3)


async def test_a_cancelled_block_stays_cancelled() -> None:
    async def wait() -> None:
        async with Deadline(60), Deadline(math.inf):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.slow
async def test_answers_that_arrive_while_a_run_that_stops_stands_still_are_kept() -> None:
    drain = Drain()
    await drain.enter()
    draining = asyncio.create_task(drain.drain(0.5))
    await asyncio.sleep(0.1)
    time.sleep(1.0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not draining.done()
    drain.leave()
    await draining
