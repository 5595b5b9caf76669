"""Work that several want at the same time is done once, in the task of the first who asks."""

import asyncio

import pytest

from weak2wise.llm.single_flight import single_flight


class Work:
    """Counts how often it was done; fails, or waits until it may end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.done = 0
        self.may_end = asyncio.Event()
        self.error = error

    async def __call__(self) -> int:
        self.done += 1
        number = self.done
        await self.may_end.wait()
        if self.error:
            raise self.error
        return number


@pytest.mark.parametrize("keep", [False, True])
async def test_a_result_is_shared_while_it_is_worked_out_and_afterwards_only_if_it_is_kept(keep: bool) -> None:
    flights: dict[str, asyncio.Future[int]] = {}
    work = Work()
    askers = [asyncio.create_task(single_flight(flights, "a", work, keep=keep)) for _ in range(3)]
    other = asyncio.create_task(single_flight(flights, "b", work, keep=keep))
    await asyncio.sleep(0)
    assert (work.done, set(flights)) == (2, {"a", "b"})
    work.may_end.set()
    assert await asyncio.gather(*askers, other) == [1, 1, 1, 2]
    assert set(flights) == ({"a", "b"} if keep else set())
    assert await single_flight(flights, "a", work, keep=keep) == (1 if keep else 3)


@pytest.mark.parametrize("keep", [False, True])
async def test_an_error_reaches_all_who_wait_and_is_never_kept(keep: bool) -> None:
    flights: dict[str, asyncio.Future[int]] = {}
    work = Work(ValueError("no"))
    for done in (1, 2):
        work.may_end.clear()
        askers = [asyncio.create_task(single_flight(flights, "a", work, keep=keep)) for _ in range(3)]
        await asyncio.sleep(0)
        work.may_end.set()
        said = await asyncio.gather(*askers, return_exceptions=True)
        assert [str(error) for error in said] == ["no"] * 3
        assert (work.done, flights) == (done, {})


async def test_who_waits_does_the_work_if_the_first_is_cancelled_and_one_who_only_waits_takes_nothing_away() -> None:
    flights: dict[str, asyncio.Future[int]] = {}
    work = Work()
    first, second, third = (asyncio.create_task(single_flight(flights, "a", work)) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert second.cancelled()
    work.may_end.set()
    assert await third == 2
    assert flights == {}
