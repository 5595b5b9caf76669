"""The parts of a work_dir, for reading: one by one, in the order of the input, or all as one."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from weak2wise.ledger.account import INPUT, Account
from weak2wise.ledger.epochs import answers_of, extents_of
from weak2wise.ledger.outcomes import Ledger
from weak2wise.ledger.parts import part_folder
from weak2wise.ledger.reading import Extent
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.journal import Journal
from weak2wise.llm.receipts import Spent, Sums
from workers.method import METHOD, Step

JOURNAL = "journal"
LEDGERS = (INPUT, *(step.name for step in METHOD))
"""The ledgers of outcomes that each part has."""


def part_numbers(work_dir: Path) -> list[int]:
    """The parts that have a folder, and part 0, in order. Blocks; raises ``OSError``."""
    folder = part_folder(work_dir, 0).parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted({0, *(int(name) for name in names if name.isdecimal())})


def all_extents(work_dir: Path) -> dict[str, list[Extent]]:
    """All that counts of all parts, by ledger, in the order of the input. Blocks; raises as ``extents_of``."""
    found: dict[str, list[Extent]] = {name: [] for name in (*LEDGERS, JOURNAL)}
    for part in part_numbers(work_dir):
        for name, files in extents_of(work_dir, part, LEDGERS).items():
            found[name] += files
        found[JOURNAL] += answers_of(work_dir, part)
    return found


class PartsView:
    """The parts of a run that nobody is writing to. Memory is bounded by one part.

    Args:
        work_dir: the run's.
        parts: the rows of each part, by number, ascending.
    """

    def __init__(self, work_dir: Path, parts: Mapping[int, range]) -> None:
        self._work_dir = work_dir
        self._parts = parts
        self._nowhere = part_folder(work_dir, 0).parent

    def records(self, step: Step) -> Iterator[Any]:
        """The records of a step, in input order. Blocks; raises as ``Ledger.read``."""
        for part in self._parts:
            ledger = self._ledger(part, step.name, step.makes)
            ledger.look()
            yield from ledger.records()

    def account(self, part: int, steps: Iterable[Step]) -> Account:
        """Where the rows of a part stand, up to the last of these steps. Blocks; raises as ``Ledger.look``."""
        ledgers = {step.name: self._ledger(part, step.name, step.makes) for step in steps}
        intake = self._ledger(part, INPUT, object)
        for ledger in (intake, *ledgers.values()):
            ledger.look()
        return Account(intake, ledgers)

    def spent(self) -> dict[tuple[str, str], Spent]:
        """What all epochs of the parts have spent, by role and endpoint. Blocks; raises as ``Journal.sums``."""
        sums: Sums = {}
        for part in self._parts:
            answers = answers_of(self._work_dir, part)
            for key, used in Journal(self._nowhere, earlier=answers, **READ_ONLY).sums().items():
                sums.setdefault(key, Spent()).add_all(used)
        return {(role, endpoint): used for (role, endpoint, _), used in sums.items()}

    def _ledger(self, part: int, name: str, makes: type[Any]) -> Ledger[Any]:
        extents = extents_of(self._work_dir, part, (name,))[name]
        return Ledger(name, self._nowhere, makes, first=self._parts[part].start, earlier=extents, **READ_ONLY)
