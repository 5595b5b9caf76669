"""A program with an idle worker and a hanging one, for tests that end it: ``python -m tests.process_pool.program``."""

import asyncio
import contextlib

from tests.process_pool.calls import hang, worker_id
from weak2wise.process_pool import KillablePool


async def main() -> None:
    """Print the ids of both workers once the second one hangs."""
    async with KillablePool(workers=2) as pool:
        first, second = await asyncio.gather(pool.run(worker_id, time_limit=5), pool.run(worker_id, time_limit=5))
        call = asyncio.create_task(pool.run(hang, time_limit=2.0))
        await asyncio.sleep(0.3)
        print(first, second, flush=True)
        await asyncio.sleep(60)
        call.cancel()


if __name__ == "__main__":
    print("starting", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
