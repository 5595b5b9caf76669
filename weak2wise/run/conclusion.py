"""The last part of a start that got to its end: output files and summary."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from msgspec import structs

from weak2wise.ledger.account import Totals
from weak2wise.ledger.outcomes import Failed
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.output_files import write_output_files
from weak2wise.outputs.summary import EndpointUse, RoleUse, Summary, ThisStart
from weak2wise.outputs.warnings import Shares, warnings
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.opened import Opened
from weak2wise.run.plan import Plan
from weak2wise.telemetry.log import log
from workers.method import Step
from workers.scorers import StepMask


@dataclass(frozen=True)
class Ended:
    """What a run has come to; the functions block."""

    records: Callable[[Step], Iterator[Any]]
    """The records of a step, in input order."""
    failures: Callable[[], Iterator[Failed]]
    """The rows that failed, in input order."""
    totals: Callable[[], Totals]
    spent: Callable[[], Mapping[tuple[str, str], Spent]]
    """By role and endpoint."""
    shortfalls: list[str]
    this_start: ThisStart
    shared_usd: float
    """As in ``Summary``."""

    @classmethod
    def of(cls, work: Opened, rows: int, began: float, shared_usd: float) -> Self:
        """What an opened run over ``rows`` rows has come to; it ``began`` at this ``time.monotonic()``."""
        shortfalls = [found for rate in work.rates for found in rate.shortfalls()]
        shortfalls += [found for stage in work.stages for found in stage.shortfalls()]
        return cls(
            records=lambda step: work.account.steps[step.name].records(),
            failures=work.account.failures,
            totals=lambda: work.account.totals(rows),
            spent=lambda: work.store.journal.spent,
            shortfalls=shortfalls,
            shared_usd=shared_usd,
            this_start=ThisStart(
                seconds=round(time.monotonic() - began, 1),
                torn=work.store.torn,
                replayed=dict(work.store.journal.replayed),
                endpoints=_uses(work.endpoints),
                verdicts=dict(work.counters.verdicts),
                cuts=dict(work.counters.cuts),
                bits=dict(work.counters.bits),
            ),
        )


async def conclude(plan: Plan, held: HeldFiles, ended: Ended) -> Summary:
    """Write the output files, sum up the run, and log what is suspicious about it.

    Raises:
        ConfigError: somebody else has written the output file, or a ledger is damaged.
        RunStopped: the work_dir was moved, or the disk refuses.
    """
    await asyncio.to_thread(held.folder.check)
    files = {plan.file_of(step): step for step in plan.steps}
    shares = Shares()
    await held.write_in_thread(
        write_output_files, files, ended.records, plan.failures, ended.failures(), claim=held.claim, note=shares.note
    )
    suspicious = warnings(shares, ended.this_start.verdicts, masked=issubclass(plan.scorer, StepMask))
    for text in ended.shortfalls + suspicious:
        log.info("run.suspicious", what=text)
    last, spent = plan.steps[-1], await asyncio.to_thread(ended.spent)
    return Summary(
        shortfalls=ended.shortfalls,
        warnings=suspicious,
        totals=await asyncio.to_thread(ended.totals),
        through=last.name,
        roles=[RoleUse(role=role, endpoint=name, **structs.asdict(used)) for (role, name), used in spent.items()],
        output=str(plan.file_of(last)),
        this_start=ended.this_start,
        shared_usd=ended.shared_usd,
    )


def _uses(endpoints: Mapping[str, Endpoint]) -> list[EndpointUse]:
    return [
        EndpointUse(
            endpoint=name,
            sent=endpoint.meter.sent,
            answered=endpoint.meter.answered,
            faults=dict(endpoint.meter.faults),
        )
        for name, endpoint in endpoints.items()
        if not endpoint.embedded
    ]
