"""The second part of a start: the files and endpoints of a run are opened, and its stages built on them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from weak2wise.dataset import unreadable_advice
from weak2wise.errors import ConfigError
from weak2wise.ledger.account import Account
from weak2wise.llm.batch.batches import Batches
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.error_rate import ErrorRate
from weak2wise.pipeline import Stage
from weak2wise.run.changes import log_changes
from weak2wise.run.ending import ending_of
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.host import Host
from weak2wise.run.models import wrap_models
from weak2wise.run.plan import Plan
from weak2wise.run.preparation import Prepared
from weak2wise.run.side_costs import side_costs_usd
from weak2wise.run.stages import Counters, build_stages
from weak2wise.run.store import RunStore
from weak2wise.telemetry.log import log
from weak2wise.watch.board import Observer


@dataclass(frozen=True)
class Opened:
    """Everything that an open run works with. Open it with ``of``."""

    store: RunStore
    endpoints: Mapping[str, Endpoint]
    host: Host
    stages: Sequence[Stage[Any]]
    rates: Sequence[ErrorRate]
    """The failures of each kind of role."""
    counters: Counters
    batches: Batches
    account: Account
    """The position of each row, up to the last step of this start."""
    observer: Observer
    only: Container[int] | None
    """The rows to work on; ``None``: all."""

    @classmethod
    @asynccontextmanager
    async def of(
        cls,
        plan: Plan,
        prepared: Prepared,
        held: HeldFiles,
        host: AbstractAsyncContextManager[Host],
        *,
        drain: Drain,
        redact: Callable[[str], str],
    ) -> AsyncIterator[Self]:
        """Open a run's ledgers, journal and endpoints and build its stages; close everything on exit.

        Args:
            plan: what the run is to do.
            prepared: what it has found out.
            held: its files.
            host: where it runs, opened and closed here.
            drain: the run's.
            redact: removes the run's secrets from a text.

        Raises:
            ConfigError: a ledger is damaged, an endpoint cannot be opened, or there is no row to retry.
            RunStopped: an endpoint or the disk refuses.
        """
        config, store = plan.config, RunStore.of(plan.config)
        account = store.account.up_to(plan.steps[-1].name)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            await held.write_in_thread(store.open, prepared.manifest.settings)
            for file, size in store.torn.items():
                log.warning(
                    "ledger.cut", file=file, bytes=size, effect="an unfinished last line; its work is done again"
                )
            only = await asyncio.to_thread(_rows_to_retry, plan, store.account)
            await asyncio.to_thread(log_changes, prepared, plan.input, store.account, only)
            on = await stack.enter_async_context(host)
            folder = await asyncio.to_thread(plan.work_dir.resolve)
            side_costs = await asyncio.to_thread(side_costs_usd, folder)
            on.count_spent(folder, side_costs + store.journal.total_usd)
            stack.callback(lambda: on.note_spent(folder, side_costs + store.journal.total_usd))
            names = dict.fromkeys(config.roles().values())
            opened = {
                name: await on.open(name, plan.work_dir / f"vllm-{number}.log") for number, name in enumerate(names)
            }
            endpoints = {name: endpoint for name, (endpoint, _) in opened.items()}
            batches = Batches(folder, store.batches, store.journal, drain)
            models, rates = wrap_models(config, opened, store.journal, drain, batches, windows=on.desk)
            stack.callback(batches.close)
            await held.write_in_thread(batches.take_up)
            rules = prepared.manifest.rules
            stages, counters = build_stages(
                config,
                plan.prompts,
                plan.steps,
                models=models,
                endpoints=endpoints,
                account=account,
                rules=rules,
                pool=on.pool,
                overlap=prepared.overlap,
                drain=drain,
                redact=redact,
            )
            observer = Observer(
                stages=stages,
                endpoints=endpoints,
                journal=store.journal,
                account=account,
                queue_size=config.engine.queue_size,
                verdicts=counters.verdicts,
                bits=counters.bits,
                scorer=plan.scorer,
                rules=rules,
                count=plan.input.count,
                only=only,
            )

            def end(_kind: object, error: BaseException | None, _trace: object) -> None:
                observer.end(redact(ending_of(error)), None if error else plan.input.rows)

            stack.push(end)
            named = await asyncio.to_thread(plan.named)
            log.info("run.started", steps=[step.name for step in plan.steps], **named)
            yield cls(store, endpoints, on, stages, rates, counters, batches, account, observer, only)


def _rows_to_retry(plan: Plan, account: Account) -> set[int] | None:
    """The rows that failed as ``plan.retry`` says; ``None`` if it does not. Blocks.

    Raises:
        ConfigError: there are none: then there is nothing to do.
    """
    if plan.retry is None:
        return None
    rows, kinds = account.failed_rows(plan.retry)
    if not rows:
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        message = f"{plan.work_dir}: no failed question to try again (failed there: {found or 'none'})"
        if lines := account.unreadable:
            message += f". {unreadable_advice(lines, plan.failures, plan.input.name)}"
        raise ConfigError(message)
    return rows
