"""Two processes on one part: an orphan goes on appending to its epoch while the next one runs, and after it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from tests.engine_runs import ROOT
from tests.loopback import LoopbackProcess
from tests.parts.hosts import HostHere
from tests.parts.test_parts import outputs, prepared
from weak2wise.api import open_run
from weak2wise.config import Config
from weak2wise.ledger.epochs import epoch_folder
from weak2wise.ledger.leases import Lease
from weak2wise.run.driver import Holder, HolderLost
from weak2wise.run.engine import Engine
from weak2wise.run.part_run import PartResult, Task
from weak2wise.watch.board import Board

BEGUN = 2
"""Outcomes of the orphan that count: those from before the next holder began."""


def written(work_dir: Path, epoch: int, step: str) -> int:
    """The lines of a step in an epoch of part 1."""
    shards = (epoch_folder(work_dir, 1, epoch) / "ledger" / step).glob("*.jsonl")
    return sum(shard.read_bytes().count(b"\n") for shard in shards)


class OrphanToBe:
    """Is lost after its first outcomes; its process is frozen, and wakes up when the next holder has begun."""

    name = "orphan"

    def __init__(self, config: Config, folder: Path, task: Task) -> None:
        self._work_dir = Path(config.dataset.work_dir)
        self._folder = folder
        self._task = task
        self.process: subprocess.Popen[bytes] | None = None

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        del fed
        arguments = [str(self._folder / "config.yaml"), msgspec.json.encode(lease).decode()]
        # With other settings its outcomes are others, so that it shows where one of them gets into the output.
        arguments += [msgspec.json.encode(self._task).decode(), "params.seed=99", "params.gen_temperature=0.9"]
        arguments += ["engine.lanes.filter=1"]  # one row after the other, so that some are left
        self.process = subprocess.Popen([sys.executable, "-m", "tests.parts.orphan", *arguments], cwd=ROOT)
        while written(self._work_dir, 1, "filter") < BEGUN:
            await asyncio.sleep(0.005)
            assert self.process.poll() is None, "it must still be at work"
        self.process.send_signal(signal.SIGSTOP)
        raise HolderLost("it does not answer")

    def boards(self) -> list[Board]:
        return []

    async def gone(self) -> None:
        """The driver thinks so."""

    async def wake(self) -> None:
        """Go on as soon as the next holder of the part has fixed what counts."""
        while not (epoch_folder(self._work_dir, 1, 2) / "seal.json").exists():
            await asyncio.sleep(0.005)
        assert self.process
        self.process.send_signal(signal.SIGCONT)


class OrphanAndHost:
    """The orphan has the first part; a host in this process has all the others, and then the first."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self.orphan: OrphanToBe | None = None

    async def each(self, task: Task) -> AsyncIterator[Holder]:
        self.orphan = OrphanToBe(self._config, self._folder, task)
        yield self.orphan
        await asyncio.sleep(0.2)  # the first part is the orphan's
        host = HostHere("host", self._config, task)
        try:
            yield host
            await self.orphan.wake()
            await asyncio.Event().wait()
        finally:
            await host.close()


@pytest.mark.slow
def test_an_orphan_that_goes_on_appending_changes_no_byte(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        calm = tmp_path / "calm"
        asyncio.run(Engine(prepared(calm, server.base_url)).run())
    folder = tmp_path / "orphaned"
    with LoopbackProcess(latency=0.1) as server:
        config = prepared(folder, server.base_url)
        work = Path(config.dataset.work_dir)
        holders = OrphanAndHost(config, folder)
        summary = asyncio.run(Engine(config, holders=holders).run())
        orphan = holders.orphan and holders.orphan.process
        assert orphan
        assert orphan.wait(timeout=60) == 0, "nobody has stopped it"
        at_end = outputs(folder)
        again = asyncio.run(Engine(config).run())
    seal = msgspec.json.decode((epoch_folder(work, 1, 2) / "seal.json").read_bytes())
    assert written(work, 1, "sft") > 0, "the orphan has got to its end"
    for step, files in seal["ledgers"].items():
        counted = sum((work / name).read_bytes()[:size].count(b"\n") for name, size in files)
        assert step != "filter" or BEGUN <= counted < written(work, 1, step), "it went on after the seal"
    assert outputs(folder) == at_end
    assert at_end["out.jsonl"] == outputs(calm)["out.jsonl"]
    assert at_end == outputs(calm)
    assert again.totals == summary.totals == open_run(work).totals
    assert summary.totals.unfinished == 0
    paid = sum(role.calls for role in open_run(work).summary.roles)
    assert paid > sum(role.calls for role in open_run(calm / "work").summary.roles), (
        "what the orphan was answered counts"
    )
