"""A host that hears nothing of the driver ends its process by itself."""

import subprocess
import sys

import pytest

pytest.importorskip("ray")

HOST = """
import asyncio, sys
from weak2wise.cluster import actors
from weak2wise.llm import fence

actors.LEASE_SECONDS, actors.ORPHAN_SECONDS, actors.FENCE_LOOK_SECONDS = 0.2, 0.4, 0.05

async def live():
    host = actors.EngineHost("alone")
    watching = asyncio.create_task(host._watch_fence())
    for _ in range(12):
        answered, boards = await host.hear(fence.now())
        await asyncio.sleep(0.1)
    print("heard", boards, flush=True)
    await watching

asyncio.run(live())
"""


@pytest.mark.slow
def test_a_host_lives_as_long_as_it_hears_of_the_driver_and_then_ends() -> None:
    ended = subprocess.run([sys.executable, "-c", HOST], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "heard b'\\x90'\n", ended.stderr
    assert ended.returncode == 1
    assert ended.stderr == ""
