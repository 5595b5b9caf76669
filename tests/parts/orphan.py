"""A holder in a process of its own, on one lease that is given as JSON; it goes on whatever the driver thinks."""

import asyncio
import sys
from pathlib import Path

import msgspec

from weak2wise.config import load_config
from weak2wise.ledger.leases import Lease
from weak2wise.run.host import Host
from weak2wise.run.part_run import PartWorker, Task


async def main(config: Path, lease: Lease, task: Task, *overrides: str) -> None:
    """Work on the lease to its end."""
    loaded = load_config(config, overrides)
    async with Host(loaded) as host:
        await PartWorker(loaded, host, task).work(lease, lambda: None)


if __name__ == "__main__":
    path, leased, common, *others = sys.argv[1:]
    asyncio.run(
        main(Path(path), msgspec.json.decode(leased, type=Lease), msgspec.json.decode(common, type=Task), *others)
    )
