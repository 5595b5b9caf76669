"""The durable state of one work_dir, open for writing: the ledgers of the input and the steps, and the journal."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET

from weak2wise.config import Config
from weak2wise.ledger.account import Account
from weak2wise.ledger.outcomes import Ledger
from weak2wise.llm.journal import Journal
from workers.method import METHOD, last_asking


@dataclass(frozen=True)
class RunStore:
    """The ledgers and the journal of one run, and the account of its rows' positions."""

    account: Account
    journal: Journal

    @classmethod
    def of(cls, config: Config) -> "RunStore":
        """The store of the config's work_dir, not opened yet."""
        folder = Path(config.dataset.work_dir) / "ledger"
        options: dict[str, Any] = {
            "max_bytes": config.engine.shard_mb << 20,
            "fsync_seconds": config.engine.fsync_seconds,
        }
        steps = {step.name: Ledger(step.name, folder, step.makes, **options) for step in METHOD}
        return cls(Account(Ledger("input", folder, object, **options), steps), Journal(folder, **options))

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
        self.journal.open(self.past)

    @property
    def torn(self) -> dict[str, int]:
        """What ``open`` has cut off: bytes by file, as in ``journal/00000.jsonl``."""
        ends = [end for end in (*(ledger.cut for ledger in self.ledgers), self.journal.cut) if end]
        return {f"{end.path.parent.name}/{end.path.name}": end.size for end in ends}

    def past(self, role: str) -> bytes:
        """By row, 1 if it needs no answer of a role any more (``Account.past``). Raises ``ValueError`` for no role."""
        return self.account.past(last_asking(role).name)

    async def close(self) -> None:
        """Flush and close everything, even if one part fails."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.journal.close)
            for ledger in self.ledgers:
                stack.push_async_callback(ledger.close)
