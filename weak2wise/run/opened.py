"""The second part of a start: the files and endpoints of a run are opened, and its stages built on them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

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
from weak2wise.run.models import Roles, wrap_models
from weak2wise.run.plan import Plan, Recipe
from weak2wise.run.preparation import Prepared
from weak2wise.run.side_costs import side_costs_usd
from weak2wise.run.stages import Counters, build_stages
from weak2wise.run.store import RunStore
from weak2wise.telemetry.log import log
from weak2wise.watch.observer import Observer
from weak2wise.watch.vitals import Vitals
from workers.decontaminate import Overlap
from workers.dedup import NearDuplicates


class Questions(Protocol):
    """The rows of a run: of the input, or of a part of it."""

    rows: int
    """How many rows the last reading took."""

    def count(self) -> int:
        """How many rows there are. Blocks."""


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
    only: Collection[int] | None
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
        store = RunStore.of(plan.config)
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
            own_costs = await asyncio.to_thread(side_costs_usd, folder) - prepared.manifest.shared_usd
            on.count_spent(folder, own_costs + store.journal.total_usd)
            stack.callback(lambda: on.note_spent(folder, own_costs + store.journal.total_usd))
            roles = await Roles.on(on, plan.config, plan.work_dir)
            work = stack.enter_context(
                cls.on(
                    plan,
                    store,
                    on,
                    roles,
                    plan.input,
                    folder=folder,
                    rules=prepared.manifest.rules,
                    overlap=prepared.overlap,
                    duplicates=prepared.duplicates,
                    only=only,
                    drain=drain,
                    redact=redact,
                )
            )
            await held.write_in_thread(work.batches.take_up)
            named = await asyncio.to_thread(plan.named)
            log.info("run.started", steps=[step.name for step in plan.steps], **named)
            yield work

    @classmethod
    @contextmanager
    def on(
        cls,
        recipe: Recipe,
        store: RunStore,
        host: Host,
        roles: Roles,
        questions: Questions,
        *,
        folder: Path,
        rules: int,
        overlap: Overlap | None,
        duplicates: NearDuplicates | None,
        only: Collection[int] | None,
        drain: Drain,
        redact: Callable[[str], str],
    ) -> Iterator[Self]:
        """Build the stages of a run, on its opened store and host.

        Args:
            recipe: what the run does with a row.
            store: its ledgers, opened; closed by the caller.
            host: where it runs.
            roles: the models of the host.
            questions: the run's rows.
            folder: for its batches.
            rules: the version of the method's rules by which it decides.
            overlap: questions of evaluation sets, to be dropped.
            duplicates: questions that nearly repeat an earlier one, to be dropped.
            only: the rows to work on; ``None``: all.
            drain: the run's.
            redact: removes the run's secrets from a text.
        """
        config, endpoints = recipe.config, roles.endpoints
        account = store.account.up_to(recipe.steps[-1].name)
        batches = Batches(folder, store.batches, store.journal, drain)
        models = wrap_models(config, roles, store.journal, drain, batches, begun=recipe.begun)
        with ExitStack() as stack:
            stack.callback(batches.close)
            stages, counters = build_stages(
                config,
                recipe.prompts,
                recipe.steps,
                models=models,
                endpoints=endpoints,
                account=account,
                rules=rules,
                pool=host.pool,
                overlap=overlap,
                duplicates=duplicates,
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
                scorer=recipe.scorer,
                rules=rules,
                vitals=Vitals(folder, host.budget, lambda: batches.outstanding.count),
                count=questions.count,
                only=only,
            )

            def end(_kind: object, error: BaseException | None, _trace: object) -> None:
                observer.end(redact(ending_of(error)), None if error else questions.rows)

            stack.push(end)
            yield cls(store, endpoints, host, stages, roles.rates, counters, batches, account, observer, only)


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
