"""A start over a work_dir in parts: what the driver does before and after it leases them."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from weak2wise.dataset import naming_setting
from weak2wise.errors import ConfigError
from weak2wise.ledger.account import Totals
from weak2wise.ledger.epochs import has_sealed
from weak2wise.ledger.lease_record import LeaseRecord
from weak2wise.ledger.leases import Leases, PartState
from weak2wise.ledger.outcomes import Failed
from weak2wise.ledger.parts import Partition
from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.llm.drain import Drain
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.parts_view import PartsView
from weak2wise.outputs.summary import EndpointUse, Summary, ThisStart
from weak2wise.run.conclusion import Ended, conclude
from weak2wise.run.driver import Driver, Holders
from weak2wise.run.ending import ending_of
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.host import Host
from weak2wise.run.monitors import progress, stop_when_exhausted, stop_when_moved
from weak2wise.run.part_run import PartResult, PartWorker, Task
from weak2wise.run.part_writer import PartWriter
from weak2wise.run.plan import Plan
from weak2wise.run.preparation import Prepared
from weak2wise.run.shortfalls import Shortfalls
from weak2wise.run.side_costs import side_costs_usd
from weak2wise.telemetry.log import log
from weak2wise.watch.observer import Observed
from weak2wise.watch.parts_board import PartsObserver
from weak2wise.watch.vitals import Vitals


class Counts:
    """What the leases of one start have counted (``ThisStart``); at most the share ``most`` of calls may fail."""

    def __init__(self, most: float) -> None:
        self.replayed: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.cuts: Counter[str] = Counter()
        self.bits: Counter[str] = Counter()
        self.shortfalls = Shortfalls(most)
        self.cost_usd = 0.0
        self._uses: dict[str, tuple[Counter[str], Counter[str]]] = {}

    def add(self, result: PartResult) -> None:
        """Count one result."""
        self.replayed.update(result.replayed)
        self.verdicts.update(result.verdicts)
        self.cuts.update(result.cuts)
        self.bits.update(result.bits)
        self.cost_usd += sum(use.cost_usd for use in result.spent)
        self.shortfalls.add(result.calls, result.questions)
        for use in result.endpoints:
            calls, faults = self._uses.setdefault(use.endpoint, (Counter(), Counter()))
            calls.update(sent=use.sent, answered=use.answered)
            faults.update(use.faults)

    def this_start(self, seconds: float) -> ThisStart:
        """All of it."""
        return ThisStart(
            seconds=round(seconds, 1),
            replayed=dict(self.replayed),
            endpoints=[
                EndpointUse(endpoint=name, sent=calls["sent"], answered=calls["answered"], faults=dict(faults))
                for name, (calls, faults) in self._uses.items()
            ],
            verdicts=dict(self.verdicts),
            cuts=dict(self.cuts),
            bits=dict(self.bits),
        )


class PartsRun:
    """One start over a work_dir in parts.

    Args:
        plan: what it is to do.
        prepared: what it has found out.
        partition: how the input is divided.
        held: its files.
        drain: stops it.
        redact: removes its secrets from a text.
    """

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        partition: Partition,
        held: HeldFiles,
        *,
        drain: Drain,
        redact: Callable[[str], str],
    ) -> None:
        self._plan = plan
        self._partition = partition
        self._held = held
        self._drain = drain
        self._redact = redact
        self._rules = prepared.manifest.rules
        self._changed = prepared.changed
        self._duplicates = prepared.duplicates
        self._shared_usd = prepared.manifest.shared_usd
        self._task = Task(
            steps=len(plan.steps),
            rules=prepared.manifest.rules,
            settings=prepared.manifest.settings,
            begun=plan.begun,
            retry=None if plan.retry is None else tuple(sorted(plan.retry)),
        )
        engine = plan.config.engine
        self._counts = Counts(engine.max_error_rate)
        self._record = LeaseRecord(plan.work_dir, max_bytes=engine.shard_mb << 20)

    async def run(
        self,
        holders: Holders,
        host: Host,
        workers: Sequence[PartWorker],
        opened: "asyncio.Future[Observed] | None",
        began: float,
    ) -> Summary:
        """Lease the parts, then write the output files.

        Args:
            holders: they work on the parts.
            host: that of this process; its budget stops the run when it is exhausted.
            workers: the holders' workers that are in this process.
            opened: resolves to the run's observer.
            began: ``time.monotonic()`` at the beginning of this start.

        Raises:
            ConfigError, RunStopped, ExceptionGroup: as ``Engine.run``.
        """
        plan = self._plan
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._record.close)
            await self._held.write_in_thread(self._record.open)
            total = await asyncio.to_thread(self._rows)
            parts = {part: self._partition.of(part, total) for part in self._partition.parts(total)}
            leases = Leases(
                parts,
                self._record.states,
                steps=len(plan.steps),
                salvage_rounds=plan.config.engine.salvage_rounds,
                retry=plan.retry,
            )
            if plan.retry is not None and leases.over:
                raise ConfigError(f"{plan.work_dir}: no failed question to try again (dataset.work_dir)")
            view = PartsView(plan.work_dir, parts)
            spent = await asyncio.to_thread(view.spent)
            folder = await asyncio.to_thread(plan.work_dir.resolve)
            usd = await asyncio.to_thread(side_costs_usd, folder) - self._shared_usd
            usd += sum(used.cost_usd for used in spent.values())
            host.count_spent(folder, usd)
            stack.callback(lambda: host.note_spent(folder, usd + self._counts.cost_usd))
            observer = self._observed(leases, total, spent, workers, Vitals(folder, host.budget))
            wanted = {part: parts[part] for part in leases.wanted()}
            writer = await asyncio.to_thread(
                partial(
                    PartWriter,
                    plan.input,
                    wanted,
                    plan.work_dir,
                    settings=self._task.settings,
                    duplicates=self._duplicates,
                )
            )
            stack.push_async_callback(writer.close)
            driver = Driver(
                leases,
                self._record,
                writer,
                done=lambda state, result: self._done(observer, state, result),
                again=observer.again,
                begun=lambda lease: has_sealed(plan.work_dir, lease.part, lease.epoch),
            )
            observer.boards = lambda: {name: holder.boards() for name, holder in driver.up.items()}
            stack.push_async_callback(driver.give_back)
            stack.push(lambda _kind, error, _trace: observer.end(self._redact(ending_of(error))))
            for key in self._changed:
                effect = "questions that have not passed the step which it concerns get the new value"
                log.warning("manifest.changed", key=key, effect=effect)
            named = await asyncio.to_thread(plan.named)
            log.info("run.started", steps=[step.name for step in plan.steps], parts=leases.left, **named)
            if opened:
                opened.set_result(observer)
            async with asyncio.TaskGroup() as group:
                monitors = [
                    group.create_task(stop_when_exhausted(host.budget, self._drain)),
                    group.create_task(observer.watch()),
                    group.create_task(progress(observer, Outstanding())),
                    group.create_task(stop_when_moved(self._held.folder, self._drain)),
                ]
                await driver.run(holders, self._task)
                for monitor in monitors:
                    monitor.cancel()
            with naming_setting("dataset.input_path"):
                await asyncio.to_thread(plan.input.check)
            return await conclude(plan, self._held, self._ended(view, leases.states, began))

    def _rows(self) -> int:
        """How many rows the run has: those of the input, or of its first questions, and all that have begun. Blocks."""
        begun = [
            self._partition.of(part, sys.maxsize).start - 1 + state.rows for part, state in self._record.states.items()
        ]
        return max(self._plan.input.count(), self._partition.begun, *begun)

    def _observed(
        self,
        leases: Leases,
        rows: int,
        spent: Mapping[tuple[str, str], Spent],
        workers: Sequence[PartWorker],
        vitals: Vitals,
    ) -> PartsObserver:
        wanted = set(leases.wanted())
        return PartsObserver(
            steps=[step.name for step in self._plan.steps],
            rows=rows,
            over=(state for part, state in leases.states.items() if part not in wanted),
            spent=spent,
            local=lambda: [observer for worker in workers for observer in worker.observers.values()],
            scorer=self._plan.scorer,
            rules=self._rules,
            vitals=vitals,
        )

    def _done(self, observer: PartsObserver, state: PartState, result: PartResult) -> None:
        self._counts.add(result)
        spent = {(use.role, use.endpoint): _spent(use) for use in result.spent}
        observer.note(state, spent, result.verdicts, result.bits)

    def _ended(self, view: PartsView, states: Mapping[int, PartState], began: float) -> Ended:
        steps = self._plan.steps

        def totals() -> Iterator[Totals]:
            for part, state in states.items():
                known = state.totals if state.steps == len(steps) else None
                yield known or view.account(part, steps).totals(state.rows)

        def failures() -> Iterator[Failed]:
            for part, state in states.items():
                if state.totals is None or state.steps != len(steps) or state.totals.failed:
                    yield from view.account(part, steps).failures()

        return Ended(
            records=view.records,
            failures=failures,
            totals=lambda: Totals.sum(totals()),
            spent=view.spent,
            shortfalls=self._counts.shortfalls.said(),
            shared_usd=self._shared_usd,
            this_start=self._counts.this_start(time.monotonic() - began),
        )


def _spent(use: Any) -> Spent:
    fields = {name: getattr(use, name) for name in Spent.__struct_fields__}
    return Spent(**fields)
