"""The last part of a start that got to its end: output files and summary."""

import asyncio
import time
from collections.abc import Mapping

from msgspec import structs

from weak2wise.llm.endpoint import Endpoint
from weak2wise.outputs.output_files import write_output_files
from weak2wise.outputs.summary import EndpointUse, RoleUse, Summary, ThisStart
from weak2wise.outputs.warnings import Shares, warnings
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.opened import Opened
from weak2wise.run.plan import Plan
from weak2wise.telemetry.log import log
from workers.scorers import StepMask


async def conclude(plan: Plan, held: HeldFiles, work: Opened, began: float, shared_usd: float) -> Summary:
    """Write the output files, sum up the run, and log what is suspicious about it.

    ``began``: ``time.monotonic()`` at the beginning of this start. ``shared_usd``: as in ``Summary``.

    Raises:
        ConfigError: somebody else has written the output file.
        RunStopped: the work_dir was moved, or the disk refuses.
    """
    await asyncio.to_thread(held.folder.check)
    files = {plan.file_of(step): step for step in plan.steps}
    shares = Shares()
    await held.write_in_thread(write_output_files, files, work.account, plan.failures, held.claim, shares.note)
    suspicious = warnings(shares, work.counters.verdicts, masked=issubclass(plan.scorer, StepMask))
    shortfalls = [found for rate in work.rates for found in rate.shortfalls()]
    shortfalls += [found for stage in work.stages for found in stage.shortfalls()]
    for text in shortfalls + suspicious:
        log.info("run.suspicious", what=text)
    last, journal = plan.steps[-1], work.store.journal
    return Summary(
        shortfalls=shortfalls,
        warnings=suspicious,
        totals=await asyncio.to_thread(work.account.totals, plan.input.rows),
        through=last.name,
        roles=[
            RoleUse(role=role, endpoint=name, **structs.asdict(spent)) for (role, name), spent in journal.spent.items()
        ],
        output=str(plan.file_of(last)),
        shared_usd=shared_usd,
        this_start=ThisStart(
            seconds=round(time.monotonic() - began, 1),
            torn=work.store.torn,
            replayed=dict(journal.replayed),
            endpoints=_uses(work.endpoints),
            verdicts=dict(work.counters.verdicts),
            cuts=dict(work.counters.cuts),
            bits=dict(work.counters.bits),
        ),
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
