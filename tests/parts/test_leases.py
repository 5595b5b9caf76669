"""Leases and epochs under everything that can happen to a holder: every row ends once, and the highest epoch wins.

The leases, the seals and the ledgers are the real ones; holders are played. One that is lost goes on as an orphan.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from weak2wise.ledger.account import Totals
from weak2wise.ledger.epochs import Place, extents_of, seal
from weak2wise.ledger.leases import Lease, Leases, PartState
from weak2wise.ledger.lines import sealed
from weak2wise.ledger.outcomes import Done, Ledger, RowStatus
from weak2wise.ledger.parts import Partition
from weak2wise.ledger.shards import READ_ONLY

STEP = "filter"
ROUNDS = 1


@dataclass
class Played:
    """A holder at work on one lease."""

    holder: str
    lease: Lease
    place: Place | None = None
    has: dict[int, int] = field(default_factory=dict)
    """By row, the epoch that made the outcome, as this holder knows it."""
    orphan: bool = False

    @property
    def lacks(self) -> list[int]:
        return [row for row in range(self.lease.first, self.lease.first + self.lease.rows) if row not in self.has]


def outcomes(files: Ledger[dict[str, int]]) -> dict[int, int]:
    """By row, the epoch whose outcome counts."""
    files.look()
    found = {}
    for row in files.rows():
        if files.status(row) is RowStatus.DONE:
            outcome = files.read(row)
            assert isinstance(outcome, Done)
            found[row] = outcome.record["epoch"]
    return found


def totals(lease: Lease, has: dict[int, int]) -> Totals:
    return Totals(rows=lease.rows, emitted=len(has), dropped={}, failed={}, unfinished=lease.rows - len(has))


class LeasesMachine(RuleBasedStateMachine):
    """Everything that can happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.rows = 0
        self.partition = Partition(begun=0, rows=3)
        self.durable: dict[int, PartState] = {}
        self.given: set[tuple[int, int]] = set()
        self.played: list[Played] = []
        self.truth: dict[int, tuple[int, dict[int, int]]] = {}
        """By part: its highest epoch that has begun, and what that one knows."""
        self.leases = self.start()

    def teardown(self) -> None:
        try:
            if self.rows:
                self.end()
        finally:
            shutil.rmtree(self.folder)

    def start(self) -> Leases:
        parts = {part: self.partition.of(part, self.rows) for part in self.partition.parts(self.rows)}
        return Leases(parts, self.durable, steps=1, salvage_rounds=ROUNDS)

    def note(self, part: int) -> None:
        self.durable[part] = self.leases.states[part]

    @initialize(rows=st.integers(1, 8))
    def first(self, rows: int) -> None:
        self.rows = rows
        self.leases = self.start()

    @rule(holder=st.sampled_from("ab"))
    def claim(self, holder: str) -> None:
        if lease := self.leases.claim(holder):
            assert (lease.part, lease.epoch) not in self.given, "no epoch is given twice"
            assert not [p for p in self.played if p.lease.part == lease.part and not p.orphan], "one holder a part"
            unfinished = [state for state in self.leases.states.values() if state.totals is None]
            assert not lease.round or not [s for s in unfinished if not s.holder], (
                "all parts are through the first round"
            )
            self.given.add((lease.part, lease.epoch))
            self.note(lease.part)
            self.played.append(Played(holder, lease))

    @precondition(lambda self: any(p.place is None for p in self.played))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Also an orphan that was frozen since its lease."""
        one = data.draw(st.sampled_from([p for p in self.played if p.place is None]))
        lease = one.lease
        one.place = seal(self.folder, lease.part, lease.epoch, lease.first, (STEP,))
        ledger = Ledger(STEP, one.place.folder, dict, first=lease.first, earlier=one.place.earlier[STEP], **READ_ONLY)
        one.has = outcomes(ledger)
        highest, known = self.truth.get(lease.part, (0, {}))
        if lease.epoch > highest:
            assert one.has == known, "a holder goes on from what the one before it had done"
            self.truth[lease.part] = lease.epoch, one.has

    @precondition(lambda self: any(p.place and p.lacks for p in self.played))
    @rule(data=st.data(), torn=st.booleans())
    def work(self, data: st.DataObject, torn: bool) -> None:
        one = data.draw(st.sampled_from([p for p in self.played if p.place and p.lacks]))
        self.append(one, data.draw(st.sampled_from(one.lacks)), torn=torn and one.orphan)

    def append(self, one: Played, row: int, *, torn: bool = False) -> None:
        assert one.place
        folder = one.place.folder / STEP
        folder.mkdir(parents=True, exist_ok=True)
        line = sealed(msgspec.json.encode(Done(row, {"epoch": one.lease.epoch})))
        with (folder / "00000.jsonl").open("ab") as file:
            file.write(line[: len(line) // 2] if torn else line)
        if torn:
            self.played.remove(one)  # it died while it wrote
        else:
            one.has[row] = one.lease.epoch

    @precondition(lambda self: any(p.place for p in self.played))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A holder may leave rows aside, but not in the last round; an orphan's word does not count."""
        ready = [p for p in self.played if p.place and not (p.lacks and p.lease.final)]
        if not ready:
            return
        one = data.draw(st.sampled_from(ready))
        self.played.remove(one)
        assert self.leases.finish(one.lease, totals(one.lease, one.has)) == (not one.orphan)
        if not one.orphan:
            self.note(one.lease.part)

    @rule(holder=st.sampled_from("ab"))
    def lose(self, holder: str) -> None:
        """A holder dies, or freezes, or cannot be reached: nobody can tell."""
        for one in self.played:
            if one.holder == holder and not one.orphan:
                one.orphan = True
                assert self.leases.release(one.lease, lost=True)
                self.note(one.lease.part)

    @rule(more=st.integers(0, 4))
    def restart(self, more: int) -> None:
        """The driver is killed and started again; the input may have grown."""
        self.rows += more
        for one in self.played:
            one.orphan = True
        self.leases = self.start()
        for lease in self.leases.leased().values():
            assert self.leases.release(lease, lost=False)
            self.note(lease.part)

    @invariant()
    def what_counts_is_what_the_highest_epoch_knows(self) -> None:
        for part, (_, known) in self.truth.items():
            files = extents_of(self.folder, part, (STEP,))[STEP]
            first = self.partition.of(part, 1 << 40).start
            ledger = Ledger(STEP, self.folder / "none", dict, first=first, earlier=files, **READ_ONLY)
            assert outcomes(ledger) == known

    def end(self) -> None:
        """A last start without accidents: then every row has ended, once."""
        self.restart(0)
        while lease := self.leases.claim("last"):
            one = Played("last", lease, seal(self.folder, lease.part, lease.epoch, lease.first, (STEP,)))
            assert one.place
            earlier = one.place.earlier[STEP]
            one.has = outcomes(Ledger(STEP, one.place.folder, dict, first=lease.first, earlier=earlier, **READ_ONLY))
            self.truth[lease.part] = lease.epoch, one.has
            for row in one.lacks:
                self.append(one, row)
            assert self.leases.finish(lease, totals(lease, one.has))
        assert self.leases.over
        together = Totals.sum(state.totals for state in self.leases.states.values() if state.totals)
        assert together.rows == together.emitted == self.rows
        self.what_counts_is_what_the_highest_epoch_knows()
        assert sorted(row for _, known in self.truth.values() for row in known) == list(range(1, self.rows + 1))


TestLeases = LeasesMachine.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_part_that_has_lost_a_holder_is_leased_alone_and_its_losses_are_counted() -> None:
    leases = Leases({1: range(1, 3), 2: range(3, 5), 3: range(5, 7)}, {}, steps=1, salvage_rounds=0)
    lost = [leases.claim("a"), leases.claim("a")]
    assert [lease and lease.part for lease in lost] == [1, 2]
    for lease in lost:
        assert lease
        leases.release(lease, lost=True)
    assert leases.losses == {1: 1, 2: 1}
    alone = leases.claim("b")
    assert alone
    assert (alone.part, alone.epoch) == (1, 2)
    assert leases.claim("b") is None, "nothing else is worked on beside it"
    other, third = leases.claim("c"), leases.claim("d")
    assert other and third and (other.part, third.part) == (2, 3)
    assert leases.finish(third, totals(third, {5: 1, 6: 1}))
    assert leases.claim("d") is None


def test_parts_with_rows_put_aside_are_leased_again_when_all_are_through() -> None:
    leases = Leases({1: range(1, 3), 2: range(3, 5)}, {}, steps=1, salvage_rounds=1)
    first, second = leases.claim("a"), leases.claim("b")
    assert first and second and not first.final
    leases.finish(first, totals(first, {1: 1}))
    assert leases.claim("a") is None, "the second part is not through"
    leases.finish(second, totals(second, {3: 1, 4: 1}))
    again = leases.claim("a")
    assert again and (again.part, again.epoch, again.round, again.final) == (1, 2, 1, True)
    leases.finish(again, totals(again, {1: 1, 2: 2}))
    assert leases.over


def test_a_later_start_leases_only_parts_with_work_left() -> None:
    done = Totals(rows=2, emitted=2, dropped={}, failed={}, unfinished=0)
    states = {
        1: PartState(part=1, epoch=1, rows=2, steps=3, totals=done),
        2: PartState(
            part=2,
            epoch=1,
            rows=2,
            steps=3,
            totals=msgspec.structs.replace(done, emitted=1, failed={"filter/timeout": 1}),
        ),
        3: PartState(
            part=3,
            epoch=1,
            rows=2,
            steps=3,
            totals=msgspec.structs.replace(done, emitted=1, failed={"input/not_json": 1}),
        ),
        4: PartState(part=4, epoch=2, rows=1, steps=3, totals=msgspec.structs.replace(done, rows=1, emitted=1)),
    }
    parts = {part: range(2 * part - 1, 2 * part + 1) for part in (1, 2, 3, 4)}
    assert Leases(parts, states, steps=3, salvage_rounds=0).wanted() == [2, 4], "failed, and grown"
    assert Leases(parts, states, steps=4, salvage_rounds=0).wanted() == [1, 2, 3, 4], "a further step"
    retry = Leases(parts, states, steps=3, salvage_rounds=0, retry=frozenset({"timeout"}))
    assert retry.wanted() == [2]
    assert Leases(parts, states, steps=3, salvage_rounds=0, retry=frozenset({"length"})).over
