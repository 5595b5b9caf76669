"""The durable state of one work_dir, open for writing: the ledgers of input and steps, the journal, its batches."""

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from weak2wise.config import Config
from weak2wise.ledger.account import INPUT, Account
from weak2wise.ledger.epochs import Place
from weak2wise.ledger.outcomes import Ledger
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.batch.requests_file import askers_in, file_of
from weak2wise.llm.journal import Journal
from workers.method import METHOD, last_asking

EVALUATION = "evaluate"
"""The one step of an evaluation, which has a store like a run's (``weak2wise.proof.evaluation``)."""


@dataclass(frozen=True)
class RunStore:
    """The ledgers and the journal of one run, the account of its rows' positions, and the record of its batches."""

    work_dir: Path
    account: Account
    journal: Journal
    batches: BatchRecord
    batched: bool
    """Whether calls of this start are sent in batches."""
    last_step: Callable[[str], str] = lambda role: last_asking(role).name
    """The name of the last step that asks a role; raises ``ValueError`` if there is no such role."""

    @classmethod
    def of(cls, config: Config, place: Place | None = None) -> "RunStore":
        """The store of the config's work_dir, not opened yet. ``place``: that of one of its parts."""
        work_dir = Path(config.dataset.work_dir)
        folder, first, earlier = place or Place(work_dir / "ledger")
        options: dict[str, Any] = {
            "max_bytes": config.engine.shard_mb << 20,
            "fsync_seconds": config.engine.fsync_seconds,
        }

        def ledger(name: str, makes: type[Any]) -> Ledger[Any]:
            return Ledger(name, folder, makes, first=first, earlier=earlier.get(name, ()), **options)

        account = Account(ledger(INPUT, object), {step.name: ledger(step.name, step.makes) for step in METHOD})
        journal = Journal(folder, first=first, earlier=earlier.get("journal", ()), **options)
        batched = any(config.endpoints[name].batched for name in config.roles().values())
        return cls(work_dir, account, journal, BatchRecord(folder, **options), batched)

    @property
    def ledgers(self) -> list[Ledger[Any]]:
        """The input's, then the steps' in order."""
        return [self.account.intake, *self.account.steps.values()]

    def open(self, settings: int = 0) -> None:
        """Read what earlier runs left. Blocks. Raises ``ConfigError`` or ``DiskError``.

        ``settings``: the number of the run's settings (``Manifest.settings``), for the outcomes that it adds.
        """
        for ledger in self.ledgers:
            ledger.open()
            ledger.settings = settings or UNSET
        if self.batched or self.batches.exists:
            self.batches.open()
        asked = {asker.row for state in self.batches.states() for asker in askers_in(file_of(self.work_dir, state.key))}
        self.journal.open(lambda role: self.past(role, but=asked))

    @property
    def torn(self) -> dict[str, int]:
        """What ``open`` has cut off: bytes by file, as in ``journal/00000.jsonl``."""
        ends = [end for end in (*(ledger.cut for ledger in self.ledgers), self.journal.cut, self.batches.cut) if end]
        return {f"{end.path.parent.name}/{end.path.name}": end.size for end in ends}

    def past(self, role: str, but: Iterable[int] = ()) -> bytes:
        """By row, 1 if it needs no answer of a role any more (``Account.past``). Raises ``ValueError`` for no role.

        Rows in ``but`` need theirs whatever became of them.
        """
        past = bytearray(self.account.past(self.last_step(role)))
        for row in but:
            if 0 <= (at := row - self.account.first) < len(past):
                past[at] = 0
        return bytes(past)

    async def close(self) -> None:
        """Flush and close everything, even if one part fails."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.batches.close)
            stack.push_async_callback(self.journal.close)
            for ledger in self.ledgers:
                stack.push_async_callback(ledger.close)
