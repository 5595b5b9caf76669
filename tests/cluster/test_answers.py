"""A holder is lost once it has not answered for some seconds in which the driver could have heard it."""

import asyncio
import threading
import time

import pytest

pytest.importorskip("ray")

from weak2wise.cluster.holders import answered_within

SECONDS = 0.3


async def test_an_answer_that_arrives_right_after_a_freeze_has_come_in_time() -> None:
    """Ray reads it in a thread of its own, which is frozen too: by then the time limit is over."""
    calling: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(answered_within(calling, SECONDS))
    await asyncio.sleep(SECONDS / 3)
    time.sleep(2 * SECONDS)
    arrives = threading.Timer(SECONDS / 10, calling.get_loop().call_soon_threadsafe, [calling.set_result, None])
    arrives.start()
    assert await waiting
    arrives.join()


async def test_no_answer_in_the_time_is_none() -> None:
    calling: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    began = time.monotonic()
    assert not await answered_within(calling, SECONDS)
    assert time.monotonic() - began >= SECONDS * 0.9


async def test_an_answer_ends_the_wait_at_once_and_so_does_an_error() -> None:
    began = time.monotonic()
    for outcome in (None, ValueError("the host is gone")):
        calling: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if outcome is None:
            calling.set_result(None)
        else:
            calling.set_exception(outcome)
        assert await answered_within(calling, 60.0)
        assert calling.exception() is outcome
    assert time.monotonic() - began < 30
