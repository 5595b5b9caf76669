"""What a holder does with its leases: each is a run over the rows of one part, on the holder's host.

Several parts may be under way at once on one host. A holder begins its next part as soon as all rows of the last one
have been handed in, so that the host is never without work while the slowest rows of a part are finished.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from weak2wise.config import Config
from weak2wise.errors import RunStopped
from weak2wise.ledger.account import Totals
from weak2wise.ledger.epochs import epoch_folder, seal
from weak2wise.ledger.files import fix_hint
from weak2wise.ledger.leases import Lease, Tally
from weak2wise.ledger.manifest import Begun
from weak2wise.ledger.outcomes import RowStatus
from weak2wise.ledger.parts import rows_file
from weak2wise.llm.drain import Drain
from weak2wise.llm.error_rate import CallsSeen
from weak2wise.outputs.parts_view import LEDGERS
from weak2wise.outputs.summary import EndpointUse, RoleUse
from weak2wise.pipeline.stage import QuestionsSeen
from weak2wise.run.drive import drive
from weak2wise.run.host import Host
from weak2wise.run.logged import until_end
from weak2wise.run.models import Roles
from weak2wise.run.opened import Opened
from weak2wise.run.overlap import read_overlap
from weak2wise.run.part_rows import PartRows
from weak2wise.run.plan import Recipe
from weak2wise.run.store import RunStore
from weak2wise.telemetry.log import Echo, RunLog, log
from weak2wise.telemetry.redaction import message_redactor
from weak2wise.watch.board import Board
from weak2wise.watch.observer import Observer
from workers.decontaminate import Overlap


class Task(Struct, frozen=True, kw_only=True):
    """What is the same for all parts of one start; the driver gives it to every holder.

    Attributes:
        steps: how many steps of the method it takes.
        rules: the version of the method's rules by which it decides.
        settings: the number of the settings (``Manifest.settings``).
        begun: what the run keeps of its first start.
        retry: work only on rows that failed with these kinds; ``None``: on all pending rows.
    """

    steps: int
    rules: int
    settings: int = 0
    begun: Begun = Begun()
    retry: tuple[str, ...] | None = None


class PartResult(Struct, frozen=True, kw_only=True):
    """What became of a lease: where the part's rows stand, and counts of this lease as in ``ThisStart``.

    ``tallies``: rows that each step has done, dropped and failed. ``spent``: in this lease.
    ``endpoints`` and ``calls``: what the holder's endpoints and roles did since its last result.
    ``questions``: how those of this lease went, by step.
    """

    totals: Totals
    tallies: tuple[Tally, ...] = ()
    spent: list[RoleUse] = []
    replayed: dict[str, int] = {}
    endpoints: list[EndpointUse] = []
    verdicts: dict[str, int] = {}
    cuts: dict[str, int] = {}
    bits: dict[str, int] = {}
    calls: list[CallsSeen] = []
    questions: list[QuestionsSeen] = []


class PartWorker:
    """Works on the parts that one holder leases.

    Args:
        config: the run's.
        host: the holder's, opened.
        task: what all parts have in common.
        drain: stops all that this holder sends.
        echo: shows warnings to the user, besides the log of each part.
    """

    def __init__(
        self, config: Config, host: Host, task: Task, *, drain: Drain | None = None, echo: Echo | None = None
    ) -> None:
        self._config = config
        self._host = host
        self._task = task
        self._drain = drain or Drain()
        self._echo = echo
        self._recipe = Recipe.of(config, task.steps, task.begun)
        self._redact = message_redactor(host.secrets(config))
        self._work_dir = Path(config.dataset.work_dir)
        self._ready: tuple[Roles, Overlap | None] | None = None
        self._opening = asyncio.Lock()
        self._reported: dict[str, Counter[str]] = {}
        self.observers: dict[int, Observer] = {}
        """Of the parts under way, by number."""

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        """Take the rows of a part through the steps of this start, as far as they get in this salvage round.

        ``fed`` is called when all its rows have been handed in.

        Raises:
            ConfigError: a file of the part is damaged, or an endpoint cannot be opened.
            RunStopped: alone or in a group: the run has to stop; what had arrived is kept.
        """
        folder = epoch_folder(self._work_dir, lease.part, lease.epoch)
        try:
            place = await asyncio.to_thread(seal, self._work_dir, lease.part, lease.epoch, lease.first, LEDGERS)
            run_log = RunLog(folder / "run.log", self._redact, echo=self._echo, peers=self._host.logs)
        except OSError as error:
            where = f"{error.filename or folder}: {error.strerror}"
            raise RunStopped(where, hint=f"{fix_hint(error)}; nothing acknowledged is lost.") from None
        with until_end(run_log):
            store = RunStore.of(self._config, place)
            async with AsyncExitStack() as stack:
                stack.callback(self.observers.pop, lease.part, None)
                stack.push_async_callback(store.close)
                await asyncio.to_thread(store.open, self._task.settings)
                return await self._on(store, lease, folder, fed)

    async def _on(self, store: RunStore, lease: Lease, folder: Path, fed: Callable[[], None]) -> PartResult:
        roles, overlap = await self._prepared(folder)
        only = None
        if self._task.retry is not None:
            only, _ = await asyncio.to_thread(store.account.failed_rows, self._task.retry)
        path = rows_file(self._work_dir, lease.part, lease.rows, self._task.settings)
        questions = PartRows(path, lease.first, lease.rows)
        dedup = self._config.dataset.dedup is not None
        with Opened.on(
            self._recipe,
            store,
            self._host,
            roles,
            questions,
            folder=folder,
            rules=self._task.rules,
            overlap=overlap,
            duplicates=await asyncio.to_thread(questions.duplicates) if dedup else None,
            only=only,
            drain=self._drain,
            redact=self._redact,
        ) as work:
            self.observers[lease.part] = work.observer
            log.info("part.started", part=lease.part, epoch=lease.epoch, first=lease.first, rows=lease.rows)
            await drive(work, questions.questions, self._drain, salvage_rounds=0, leaves_aside=not lease.final, fed=fed)
            return await self._result(work, lease)

    def boards(self) -> list[Board]:
        """The facts of the parts under way."""
        return [observer.board() for observer in self.observers.values()]

    async def _prepared(self, folder: Path) -> tuple[Roles, Overlap | None]:
        """The host's models and the evaluation sets; the first part opens them for all. Raises as ``work``."""
        async with self._opening:
            if self._ready is None:
                overlap = await asyncio.to_thread(read_overlap, self._config)
                self._ready = await Roles.on(self._host, self._config, folder), overlap
        return self._ready

    async def _result(self, work: Opened, lease: Lease) -> PartResult:
        totals = await asyncio.to_thread(work.account.totals, lease.rows)
        log.info("part.finished", part=lease.part, totals=msgspec.to_builtins(totals))
        return PartResult(
            totals=totals,
            tallies=tuple(tally_of(stage.ledger.tally) for stage in work.stages),
            spent=[
                RoleUse(role=role, endpoint=name, **structs.asdict(used))
                for (role, name), used in work.store.journal.spent.items()
            ],
            replayed=dict(work.store.journal.replayed),
            endpoints=list(self._uses(work)),
            verdicts=dict(work.counters.verdicts),
            cuts=dict(work.counters.cuts),
            bits=dict(work.counters.bits),
            calls=[seen for rate in work.rates for seen in rate.take()],
            questions=[stage.take() for stage in work.stages],
        )

    def _uses(self, work: Opened) -> Iterator[EndpointUse]:
        for name, endpoint in work.endpoints.items():
            if endpoint.embedded:
                continue
            meter, before = endpoint.meter, self._reported.get(name, Counter())
            now: Counter[str] = Counter(meter.faults) + Counter({"": meter.sent, " ": meter.answered})
            new: dict[str, Any] = now - before
            self._reported[name] = now
            yield EndpointUse(endpoint=name, sent=new.pop("", 0), answered=new.pop(" ", 0), faults=dict(new))


def tally_of(counts: Mapping[RowStatus, int]) -> Tally:
    """How many rows a step has done, dropped and failed."""
    return counts[RowStatus.DONE], counts[RowStatus.DROPPED], counts[RowStatus.FAILED]
