"""Makes a work_dir with damaged ledgers one that a run can go on with, and says what that will cost.

A damaged outcome costs no money: its step is done again with the answers in the journal. A damaged answer may have to
be asked for again. What it had cost is not forgotten: in its place stands a charge of the average cost of its role.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.errors import ConfigError
from weak2wise.ledger.account import INPUT, Account
from weak2wise.ledger.epochs import ledger_folders, reseal, sealed_files
from weak2wise.ledger.lease_record import LeaseRecord
from weak2wise.ledger.lines import packed, sealed
from weak2wise.ledger.outcomes import Ledger
from weak2wise.ledger.parts import part_of
from weak2wise.ledger.reading import Damage, Extent
from weak2wise.ledger.repair import kept_in_file, sizes_without, take_out
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.journal import REMOVED, Answer, Journal
from weak2wise.llm.model import Completion, Usage
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.parts_view import all_extents
from weak2wise.run.store import EVALUATION
from workers.method import METHOD, last_asking

_WHOSE = re.compile(rb'"row":(\d{1,15}),"key":"[^"\\]{0,99}","role":"([^"\\]{1,200})","endpoint":"([^"\\]{1,200})"')
"""The beginning of an answer's line: whose it was, where that part is whole."""

Asker = tuple[str, str]
"""A role and its endpoint."""


class Lost(Struct):
    """Answers on one damaged line; one of unknown row and role may have been several, by its size."""

    path: Path
    line: int
    size: int
    row: int | None = None
    role: str = ""
    endpoint: str = ""


class Repaired(Struct):
    """What was set aside, and what follows from it."""

    kept_in: Path
    damaged: Counter[str]
    """Damaged lines by file."""
    again: Counter[str]
    """Answers to be asked for again, at most, by role; no role where it cannot be seen."""
    cost_usd: float
    """Their cost, by the averages of this work_dir."""
    removed: int
    """Answers whose texts ``weak2wise gc`` has removed: a damaged outcome may need them."""


class _Averages:
    """What the whole answers of a journal tell about the damaged ones."""

    def __init__(self) -> None:
        self._spent: dict[Asker, Spent] = {}
        self._bytes = 0
        self.removed = 0

    def note(self, answer: Answer, size: int) -> None:
        self.removed += answer.key == REMOVED
        self._spent.setdefault((answer.role, answer.endpoint), Spent()).add(answer.receipt)
        self._bytes += size

    def cost_usd(self, lost: Lost) -> float:
        """The cost of one answer: the average of its role and endpoint, else of all."""
        known = self._spent.get((lost.role, lost.endpoint))
        spent = [known] if known else list(self._spent.values())
        calls = sum(each.calls for each in spent)
        return sum(each.cost_usd - each.wasted_usd for each in spent) / calls if calls else 0.0

    def answers(self, lost: Lost) -> int:
        """How many answers the damaged line has been, by its size where that is all that is known."""
        calls = sum(each.calls for each in self._spent.values())
        return max(1, round(lost.size * calls / self._bytes)) if calls and lost.row is None else 1

    def charge(self, lost: Lost) -> bytes:
        """The line that keeps the cost; empty if there was none."""
        if not (cost := self.cost_usd(lost) * self.answers(lost)):
            return b""
        busiest = max(self._spent, key=lambda asker: self._spent[asker].calls)
        role, endpoint = (lost.role, lost.endpoint) if lost.role else busiest
        completion = Completion(text="", usage=Usage(estimated=True))
        return sealed(msgspec.json.encode(Answer(lost.row or 0, "", role, endpoint, completion, cost)))


def repair(work_dir: Path) -> Repaired | None:
    """Set the damaged lines of a work_dir's ledgers aside; ``None`` if there are none. The caller holds its lock.

    Raises:
        ConfigError: the folder holds no run, or a damaged file can be restored instead.
        OSError: the files cannot be written.
        DiskError: the files cannot be read.
    """
    averages = _Averages()
    kept_in = _unused(work_dir)
    instead, all_lost = _damaged(work_dir, kept_in, averages)
    if not instead:
        return None
    for lost in all_lost:
        instead[lost.path][lost.line] = averages.charge(lost)
    sealed = sealed_files(work_dir)
    sizes = {path: sizes_without(path, lines, sealed.get(path, ())) for path, lines in instead.items()}
    for path, lines in instead.items():
        take_out(path, lines)
    reseal(work_dir, sizes)
    parts = (work_dir / "parts").is_dir()
    if parts:
        asyncio.run(_reopen(work_dir, {part_of(work_dir, path) for path in instead}))

    folder = work_dir / ("parts" if parts else "ledger")
    steps = _ledgers(folder, all_extents(work_dir) if parts else {})
    for ledger in steps.values():
        ledger.look()
    account = Account(steps.pop(INPUT), steps)

    def may_be_needed(lost: Lost) -> bool:
        if lost.row is None:
            return True
        return account.is_pending(lost.row, EVALUATION if EVALUATION in steps else last_asking(lost.role).name)

    again = list(filter(may_be_needed, all_lost))
    damaged = Counter({str(path.relative_to(work_dir)): len(lines) for path, lines in instead.items()})
    count: Counter[str] = Counter()
    for lost in again:
        count[lost.role] += averages.answers(lost)
    cost = sum(averages.cost_usd(lost) * averages.answers(lost) for lost in again)
    return Repaired(kept_in, damaged, count, cost, averages.removed)


async def _reopen(work_dir: Path, parts: Iterable[int]) -> None:
    """See to it that the next start looks at parts that were over."""
    record = LeaseRecord(work_dir, max_bytes=1 << 26)
    await asyncio.to_thread(record.open)
    await record.reopen(parts)
    await record.close()


def _damaged(work_dir: Path, kept_in: Path, averages: _Averages) -> tuple[dict[Path, dict[int, bytes]], list[Lost]]:
    """Keep all damaged lines in a file. Returns by file what their places get, and which of them were answers."""
    instead: dict[Path, dict[int, bytes]] = {}
    all_lost: list[Lost] = []
    with kept_in_file(kept_in) as write_down:

        def keep(damage: Damage) -> None:
            _refuse_what_is_elsewhere(damage)
            write_down(damage)
            instead.setdefault(damage.path, {})[damage.line] = b""

        def keep_answer(damage: Damage) -> None:
            keep(damage)
            all_lost.append(_lost(damage))

        for folder in (work_dir / "ledger", *ledger_folders(work_dir)):
            for ledger in _ledgers(folder, {}).values():
                ledger.damage(keep)
            BatchRecord(folder, **READ_ONLY).damage(keep)  # each line says all that an earlier one did
            Journal(folder, **READ_ONLY).damage(averages.note, keep_answer)
        LeaseRecord(work_dir, **READ_ONLY).damage(keep)  # the same
        for path in sealed_files(work_dir):
            if not path.exists() and path not in instead:
                keep(Damage(path, 0, "the file is missing", b""))
    return instead, all_lost


def _ledgers(folder: Path, earlier: Mapping[str, Sequence[Extent]]) -> dict[str, Ledger[Any]]:
    """The ledgers of outcomes in a folder, by name, to be read: those of a run, or of an evaluation."""
    of_evaluation = (folder / EVALUATION).is_dir()
    makes: dict[str, Any] = {EVALUATION: dict} if of_evaluation else {step.name: step.makes for step in METHOD}
    kinds = {INPUT: object, **makes}
    return {
        name: Ledger(name, folder, makes, earlier=earlier.get(name, ()), **READ_ONLY) for name, makes in kinds.items()
    }


def _lost(damage: Damage) -> Lost:
    lost = Lost(damage.path, damage.line, len(damage.text))
    if found := _WHOSE.search(damage.text[:1000]):
        try:
            role = found[2].decode()
            last_asking(role)
            lost.row, lost.role, lost.endpoint = int(found[1]), role, found[3].decode()
        except ValueError:  # damaged in this part, too
            pass
    return lost


def _refuse_what_is_elsewhere(damage: Damage) -> None:
    """Nothing is given up that needs only to be unpacked or moved back. Raises ``ConfigError``."""
    if others := [] if damage.line else [path.name for path in damage.path.parent.glob(f"{damage.path.name}?*")]:
        raise ConfigError(f"{damage.path}: missing, and {', '.join(sorted(others))} is there; make the file out of it")
    if damage.line == 1 and (how := packed(damage.text)):
        raise ConfigError(f"{damage.path}: {how}; nothing is lost then")


def _unused(work_dir: Path) -> Path:
    """A name for the file of damaged lines."""
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (f"damaged-{stamp}.jsonl", *(f"damaged-{stamp}-{number}.jsonl" for number in range(2, 100)))
    return next(work_dir / name for name in names if not (work_dir / name).exists())
