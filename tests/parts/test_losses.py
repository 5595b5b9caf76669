"""Which lost holders count against a part: those that had begun with it, and have not ended by themselves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.parts.test_leases import totals
from weak2wise.errors import RunStopped
from weak2wise.ledger.lease_record import LeaseRecord
from weak2wise.ledger.leases import LOSSES, Lease, Leases
from weak2wise.run.driver import Driver, Holder, HolderLost
from weak2wise.run.part_run import PartResult, Task
from weak2wise.run.part_writer import PartWriter
from weak2wise.watch.board import Board


class _Loses:
    """Is lost with its first part."""

    def __init__(self, name: str, *, died: bool) -> None:
        self.name = name
        self._died = died

    async def work(self, lease: Lease, _fed: object) -> PartResult:
        raise HolderLost(f"gone with part {lease.part}", died=self._died)

    def boards(self) -> list[Board]:
        return []

    async def gone(self) -> None:
        await asyncio.sleep(0)


class _Finishes(_Loses):
    async def work(self, lease: Lease, _fed: object) -> PartResult:
        return PartResult(totals=totals(lease, dict.fromkeys(range(lease.rows), lease.epoch)))


class _OneAfterAnother:
    """So many that are lost, each when the part is free again, then one that finishes."""

    def __init__(self, leases: Leases, lost: int, *, died: bool) -> None:
        self._leases = leases
        self._lost = lost
        self._died = died

    async def each(self, _task: Task) -> AsyncIterator[Holder]:
        for number in range(self._lost):
            yield _Loses(str(number), died=self._died)
            await asyncio.sleep(0.02)
            while self._leases.leased():
                await asyncio.sleep(0.001)
        yield _Finishes("last", died=False)
        await asyncio.Event().wait()


class _AtHand(PartWriter):
    def __init__(self) -> None:
        pass

    async def reach(self, part: int) -> None:
        """All rows are."""


async def driven(folder: Path, *, begun: bool, died: bool) -> Leases:
    """One part, which loses more holders than it may."""
    leases = Leases({1: range(1, 3)}, {}, steps=1, salvage_rounds=0)
    record = LeaseRecord(folder, max_bytes=1 << 20)
    await asyncio.to_thread(record.open)
    driver = Driver(leases, record, _AtHand(), done=lambda *_: None, again=lambda _: None, begun=lambda _: begun)
    try:
        await asyncio.wait_for(
            driver.run(_OneAfterAnother(leases, LOSSES + 1, died=died), Task(steps=1, rules=1)), timeout=5
        )
    finally:
        await record.close()
    return leases


async def test_a_part_that_ends_its_holders_stops_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as stopped:
        await driven(tmp_path, begun=True, died=True)
    (error,) = stopped.value.exceptions
    assert isinstance(error, RunStopped)
    assert "part 1 (rows 1 to 2) has ended 3 holders" in str(error)


async def test_a_holder_that_was_gone_before_it_had_begun_does_not_count_against_its_part(tmp_path: Path) -> None:
    leases = await driven(tmp_path, begun=False, died=True)
    assert leases.over
    assert leases.losses[1] == 0


async def test_a_sound_holder_that_ends_by_itself_does_not_count_against_its_part(tmp_path: Path) -> None:
    leases = await driven(tmp_path, begun=True, died=False)
    assert leases.over
    assert leases.losses[1] == 0
