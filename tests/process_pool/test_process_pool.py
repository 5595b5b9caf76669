"""Pure functions in killable processes: a bad call costs itself and nothing else."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvloop

from tests.engine_runs import ROOT
from tests.process_pool.calls import crash, devour, double, fail, hang, hang_deep_in_c, slow_start, worker_id
from weak2wise.process_pool import KillablePool, PoolCrashed, PoolTimeout


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


async def test_results_and_exceptions_come_back() -> None:
    async with KillablePool() as pool:
        assert await pool.run(double, 21, time_limit=5) == 42
        with pytest.raises(LookupError, match="nothing there"):
            await pool.run(fail, time_limit=5)
        assert await pool.run(double, 4, time_limit=5) == 8


@pytest.mark.slow
async def test_a_hang_costs_its_call_and_the_worker_is_replaced() -> None:
    async with KillablePool() as pool:
        before = await pool.run(worker_id, time_limit=5)
        with pytest.raises(PoolTimeout):
            await pool.run(hang, time_limit=0.3)
        assert await pool.run(worker_id, time_limit=5) != before
        assert not alive(before)


@pytest.mark.slow
async def test_a_hang_inside_c_code_is_killed_too() -> None:
    """Arithmetic on huge integers never gives up the interpreter lock; only the kernel can stop it."""
    async with KillablePool() as pool:
        with pytest.raises(PoolTimeout):
            await pool.run(hang_deep_in_c, time_limit=0.5)
        assert await pool.run(double, 1, time_limit=5) == 2


@pytest.mark.slow
async def test_a_crash_fails_none_of_its_neighbours() -> None:
    """Crashing and innocent calls wait in one crowd; each gets what it deserves."""
    async with KillablePool(workers=2) as pool:
        calls = [pool.run(crash, time_limit=5) if n % 5 == 2 else pool.run(double, n, time_limit=5) for n in range(15)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    for n, result in enumerate(results):
        if n % 5 == 2:
            assert isinstance(result, PoolCrashed)
        else:
            assert result == 2 * n


@pytest.mark.slow
async def test_a_worker_killed_while_idle_fails_no_call() -> None:
    async with KillablePool() as pool:
        os.kill(await pool.run(worker_id, time_limit=5), signal.SIGKILL)
        assert await pool.run(double, 3, time_limit=5) == 6


async def test_a_call_that_wants_too_much_memory_fails_alone() -> None:
    async with KillablePool() as pool:
        with pytest.raises(PoolCrashed):
            await pool.run(devour, time_limit=5)
        assert await pool.run(double, 3, time_limit=5) == 6


@pytest.mark.slow
async def test_start_up_does_not_count_against_the_time_limit() -> None:
    async with KillablePool(warm_up=slow_start) as pool:
        assert await pool.run(double, 5, time_limit=0.5) == 10


@pytest.mark.slow
async def test_thousands_of_calls_wait_in_front_of_the_workers() -> None:
    """All are answered by the few workers there are."""
    async with KillablePool(workers=2) as pool, asyncio.TaskGroup() as group:
        tasks = [group.create_task(pool.run(double, n, time_limit=5)) for n in range(3000)]
        workers = [group.create_task(pool.run(worker_id, time_limit=5)) for _ in range(50)]
    assert [task.result() for task in tasks] == [2 * n for n in range(3000)]
    assert len({task.result() for task in workers}) <= 2


@pytest.mark.slow
async def test_a_cancelled_call_frees_its_worker() -> None:
    async with KillablePool() as pool:
        await pool.run(double, 1, time_limit=5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.run(hang, time_limit=60), 0.3)
        assert await pool.run(double, 2, time_limit=5) == 4


@pytest.mark.parametrize("times", [1, 2])
async def test_a_call_cancelled_while_its_worker_starts_leaves_none_behind(times: int) -> None:
    """Closing ends every worker that was ever started."""
    before = set(multiprocessing.active_children())
    async with KillablePool(warm_up=slow_start) as pool:
        call = asyncio.create_task(pool.run(double, 1, time_limit=5))
        for _ in range(times):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()  # nothing is starting any more
    assert set(multiprocessing.active_children()) <= before


async def test_closing_ends_a_hanging_worker() -> None:
    pool = KillablePool()
    pid = await pool.run(worker_id, time_limit=5)
    hanging = asyncio.create_task(pool.run(hang, time_limit=60))
    await asyncio.sleep(0.2)
    await pool.close()
    assert not alive(pid)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


@pytest.mark.slow
def test_it_works_under_uvloop() -> None:
    async def main() -> None:
        async with KillablePool() as pool:
            assert await pool.run(double, 8, time_limit=5) == 16
            with pytest.raises(PoolTimeout):
                await pool.run(hang, time_limit=0.3)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def start_program() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.process_pool.program"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    return process


def worker_ids(process: "subprocess.Popen[str]") -> list[int]:
    assert process.stdout is not None
    return [int(pid) for pid in process.stdout.readline().split()]


@pytest.mark.slow
def test_no_worker_outlives_a_killed_program() -> None:
    """After SIGKILL the idle worker and the hanging one both end by themselves."""
    process = start_program()
    pids = worker_ids(process)
    assert len(pids) == 2
    process.kill()
    process.communicate()
    assert all(wait_until_gone(pid, 15) for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["while working", "while starting"])
def test_an_interrupt_at_the_terminal_is_not_the_workers_business(when: str) -> None:
    """Ctrl-C reaches the whole process group; only the program itself may speak about it."""
    process = start_program()
    pids = worker_ids(process) if when == "while working" else []
    if not pids:
        time.sleep(0.25)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors == ""
    assert all(wait_until_gone(pid, 15) for pid in pids)
