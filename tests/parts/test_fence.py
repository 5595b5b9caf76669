"""A holder that does not hear from the driver sends nothing; the driver waits for longer than that."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.parts.test_leases import totals
from weak2wise.ledger.lease_record import LeaseRecord
from weak2wise.ledger.leases import Lease, Leases, PartState
from weak2wise.llm import fence
from weak2wise.llm.drain import Drain
from weak2wise.llm.fence import Fence, Silence
from weak2wise.run.driver import LOCAL, Driver, Holder, HolderLost
from weak2wise.run.part_run import PartResult, Task
from weak2wise.run.part_writer import PartWriter
from weak2wise.watch.board import Board

ROWS = {1: range(1, 3), 2: range(3, 5)}


class Clock:
    """The time that passes while the process is frozen, too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr(fence, "now", lambda: self.seconds)


async def test_after_ten_seconds_without_a_word_nothing_is_sent_until_the_driver_has_heard_of_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    spoken_to = Fence()
    drain = Drain(spoken_to)
    clock.seconds += 9
    answered = clock.seconds
    spoken_to.heard(answered)
    clock.seconds += 9.9
    await drain.enter()
    clock.seconds += 0.2  # frozen: no timer has run
    waiting = asyncio.create_task(drain.enter())
    spoken_to.heard(answered)  # said before, and late: the driver may take this holder for lost by now
    await asyncio.sleep(0.05)
    assert not waiting.done()
    drain.leave()
    spoken_to.heard(clock.seconds)
    await waiting
    assert drain.under_way == 1


async def test_a_word_that_was_long_under_way_gives_no_more_time_than_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver counts from when it said it: it may lease the part again before the holder thinks so."""
    clock = Clock(monkeypatch)
    holder, driver = Fence(), Silence()
    answered = clock.seconds
    driver.said()
    clock.seconds += 9
    holder.heard(answered)
    clock.seconds += 2.1
    await asyncio.wait_for(driver.wait(), 0.05)
    assert holder.lapsed


async def test_what_has_stopped_for_good_is_not_begun_again_by_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    spoken_to = Fence()
    drain = Drain(spoken_to)
    await drain.enter()
    clock.seconds += 11
    waiting = asyncio.create_task(drain.enter())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(drain.drain(5))
    await asyncio.sleep(0)
    spoken_to.heard(clock.seconds)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert not stopping.done(), "a call is under way"
    drain.leave()
    await stopping
    waiting.cancel()


async def test_a_holder_has_lapsed_before_the_driver_leases_again() -> None:
    holder, driver = Fence(0.2), Silence(0.2)
    driver.said()
    holder.heard(fence.now())
    assert not holder.lapsed
    await driver.wait()
    assert holder.lapsed


class _Quick:
    """A holder that is done at once."""

    def __init__(self) -> None:
        self.name = "new"
        self.leases: dict[int, float] = {}

    async def work(self, lease: Lease, _fed: object) -> PartResult:
        self.leases[lease.part] = time.monotonic()
        return PartResult(totals=totals(lease, dict.fromkeys(range(lease.rows), lease.epoch)))

    def boards(self) -> list[Board]:
        return []

    async def gone(self) -> None:
        raise AssertionError("it is not lost")


class _One:
    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    async def each(self, _task: Task) -> AsyncIterator[Holder]:
        yield self._holder


class _AtHand(PartWriter):
    def __init__(self) -> None:
        pass

    async def reach(self, part: int) -> None:
        """All rows are."""


@pytest.mark.slow
async def test_a_driver_that_is_started_again_waits_for_the_holders_of_other_machines_alone(tmp_path: Path) -> None:
    """A part that nobody had, or this machine, is leased at once, and the other one when its holder has lapsed."""
    states = {
        1: PartState(part=1, epoch=4, holder="node-7", rows=2),
        2: PartState(part=2, epoch=1, holder=LOCAL, rows=2),
    }
    leases = Leases(ROWS, states, steps=1, salvage_rounds=0)
    record = LeaseRecord(tmp_path, max_bytes=1 << 20)
    await asyncio.to_thread(record.open)
    new = _Quick()
    driver = Driver(
        leases,
        record,
        _AtHand(),
        done=lambda *_: None,
        again=lambda _: None,
        begun=lambda _: True,
        silence=Silence(1.0),
    )
    began = time.monotonic()
    await driver.run(_One(new), Task(steps=1, rules=1))
    await record.close()
    assert new.leases[2] - began < 1.0 <= new.leases[1] - began
    kept = LeaseRecord.seen(tmp_path).states
    assert {part: (state.epoch, state.holder) for part, state in kept.items()} == {1: (5, ""), 2: (2, "")}


async def test_a_driver_that_is_stopped_gives_back_only_what_nobody_can_work_on_any_more(tmp_path: Path) -> None:
    """The part of an earlier start's holder stays leased, so that the next start waits for it, too."""
    states = {1: PartState(part=1, epoch=4, holder="node-7", rows=2)}
    leases = Leases(ROWS, states, steps=1, salvage_rounds=0)
    record = LeaseRecord(tmp_path, max_bytes=1 << 20)
    await asyncio.to_thread(record.open)
    await record.note(states[1])
    begun = asyncio.Event()

    class Slow(_Quick):
        async def work(self, lease: Lease, _fed: object) -> PartResult:
            begun.set()
            await asyncio.Event().wait()
            return await super().work(lease, _fed)

    driver = Driver(leases, record, _AtHand(), done=lambda *_: None, again=lambda _: None, begun=lambda _: True)
    running = asyncio.create_task(driver.run(_One(Slow()), Task(steps=1, rules=1)))
    await begun.wait()
    running.cancel()
    await asyncio.wait([running])
    await driver.give_back()
    await record.close()
    kept = LeaseRecord.seen(tmp_path).states
    assert {part: (state.epoch, state.holder) for part, state in kept.items()} == {1: (4, "node-7"), 2: (1, "")}


async def test_a_run_without_any_host_left_stops_and_says_so(tmp_path: Path) -> None:
    class Dies(_Quick):
        async def work(self, lease: Lease, _fed: object) -> PartResult:
            raise HolderLost(f"killed with part {lease.part}")

    leases = Leases(ROWS, {}, steps=1, salvage_rounds=0)
    record = LeaseRecord(tmp_path, max_bytes=1 << 20)
    await asyncio.to_thread(record.open)
    driver = Driver(leases, record, _AtHand(), done=lambda *_: None, again=lambda _: None, begun=lambda _: True)
    with pytest.raises(ExceptionGroup) as stopped:
        await driver.run(_One(Dies()), Task(steps=1, rules=1))
    await record.close()
    assert "no host is left to work on 2 parts" in str(stopped.value.exceptions[0])


async def test_a_holder_that_cannot_be_stopped_keeps_its_part_on_record_and_nobody_waits_for_it(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Deaf(_Quick):
        async def work(self, lease: Lease, _fed: object) -> PartResult:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise HolderLost(f"no word about part {lease.part}") from None
            raise AssertionError

    leases = Leases({1: range(1, 3)}, {}, steps=1, salvage_rounds=0)
    record = LeaseRecord(tmp_path, max_bytes=1 << 20)
    await asyncio.to_thread(record.open)
    driver = Driver(leases, record, _AtHand(), done=lambda *_: None, again=lambda _: None, begun=lambda _: True)
    running = asyncio.create_task(driver.run(_One(Deaf()), Task(steps=1, rules=1)))
    await begun.wait()
    running.cancel()
    await asyncio.wait([running], timeout=1)
    assert running.done()
    await driver.give_back()
    await record.close()
    assert LeaseRecord.seen(tmp_path).states[1].holder == "new"
