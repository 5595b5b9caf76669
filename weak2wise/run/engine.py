"""One run over one work_dir: prepare, open, drive, report.

A run is a value without global state: several may run in one process, each on its own host or all on one. It installs
no signal handler, configures no logging and never ends the process; only the command line does that.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from weak2wise.config import Config
from weak2wise.config.shape import default_shape, result_shape
from weak2wise.dataset import is_hub, keep, unreadable_advice
from weak2wise.dataset.given import Questions
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.account import Account
from weak2wise.ledger.files import fix_hint, locked, make_private, write_atomic
from weak2wise.ledger.manifest import Manifest, Resume, compare, settle
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import Endpoint
from weak2wise.outputs.output_files import write_output_files
from weak2wise.outputs.summary import EndpointUse, RoleUse, Summary, ThisStart
from weak2wise.paths import check_paths, output_of
from weak2wise.pipeline import Stage, run
from weak2wise.run.host import Host
from weak2wise.run.input import Input
from weak2wise.run.kept_config import keep_config
from weak2wise.run.models import wrap_models
from weak2wise.run.monitors import ending_of, log_ending, progress, stop_when_exhausted
from weak2wise.run.overlap import read_overlap
from weak2wise.run.stages import Counters, build_stages
from weak2wise.run.store import RunStore
from weak2wise.telemetry.log import Echo, RunLog, log
from weak2wise.telemetry.plain import redactor
from weak2wise.watch.board import Observer
from workers.decontaminate import Overlap
from workers.method import METHOD, Step
from workers.prompts import Prompts
from workers.scorers import scorer_named

P = ParamSpec("P")
T = TypeVar("T")

GRACE_SECONDS = 2.0
"""How long to wait for answers in flight when a run is interrupted."""


@dataclass(frozen=True)
class Opened:
    """Everything that an open run works with."""

    store: RunStore
    endpoints: Mapping[str, Endpoint]
    host: Host
    stages: list[Stage[Any]]
    counters: Counters
    account: Account
    """The position of each row, up to the last step of this run."""
    observer: Observer
    only: Container[int] | None


class Engine:
    """One run over one work_dir; construct it, then ``await run()``, once.

    Args:
        config: what to run.
        host: where to run it; ``None``: on its own host, which is closed with the run.
        questions: the questions themselves, in place of ``dataset.input_path``; they are kept in the work_dir.
        limit: stop after this many questions; a later run without it continues.
        resume: what to do if the work_dir holds an earlier run.
        up_to_step: how many of the method's steps to take.
        retry: work only on rows that failed with these error kinds; ``None``: on all pending rows.
        keep: write the config into the work_dir, so that the command line can continue the run.
        echo: shows warnings and progress to the user, besides the log.

    Raises:
        ConfigError: the run cannot start; what can be known without a call is checked here.
    """

    def __init__(
        self,
        config: Config,
        *,
        host: Host | None = None,
        questions: Questions | None = None,
        limit: int | None = None,
        resume: Resume = "auto",
        up_to_step: int = len(METHOD),
        retry: frozenset[str] | None = None,
        keep: bool = False,
        echo: Echo | None = None,
    ) -> None:
        self.config = config
        self.work_dir = Path(config.dataset.work_dir)
        self.drain = Drain()
        self._input = Input(config, questions, limit)
        self._resume: Resume = resume
        self._steps = METHOD[:up_to_step]
        self._retry = retry
        self._keep = keep
        self._echo = echo
        self._prompts = Prompts.of(config.prompts)
        self._scorer = scorer_named(config.params.scorer)
        self._output = output_of(config)
        self.logged = False
        """Whether this run's log is open, or was."""
        self._lock = -1
        if host is not None:
            host.check(config)
        self._host = host or Host(config)
        self._owns_host = host is None
        self._redact = redactor(self._host.secrets(config))
        check_paths(config, given=questions is not None)
        if retry is not None and not (self.work_dir / "manifest.json").exists():
            raise ConfigError(f"{self.work_dir}: holds no run, so no question has failed there (dataset.work_dir)")

    @property
    def failures(self) -> Path:
        """The file that lists the rows that failed."""
        return self.work_dir / "failed.jsonl"

    @property
    def summary_file(self) -> Path:
        """The file with the summary of a finished run."""
        return self.work_dir / "summary.json"

    async def run(self, opened: "asyncio.Future[Observer] | None" = None) -> Summary:
        """Take every input row through the steps of this run, then write the output files.

        Args:
            opened: resolves to the run's observer once the run is open.

        Raises:
            ConfigError: the run cannot start, or the work_dir holds a different one.
            RunStopped: alone or in an exception group: the run stopped and can be resumed.
        """
        began = time.monotonic()
        with locked(self.work_dir) as self._lock:
            async with self._logged():
                overlap = await self._prepare()
                async with self._open(overlap) as work:
                    if opened:
                        opened.set_result(work.observer)
                    await self._drive(work)
                    summary = await self._report(work, began)
                pretty = msgspec.json.format(msgspec.json.encode(summary), indent=1)
                await self._write_in_thread(write_atomic, self.summary_file, [pretty, b"\n"])
                totals = msgspec.to_builtins(summary.totals)
                log.info("run.finished", totals=totals, seconds=round(time.monotonic() - began, 1))
                return summary

    @asynccontextmanager
    async def _logged(self) -> AsyncIterator[None]:
        """Write events to this run's log, also how it ends. Raises ``ConfigError`` if the log cannot be opened."""
        try:
            run_log = RunLog(self.work_dir / "run.log", self._redact, echo=self._echo, peers=self._host.logs)
        except OSError as error:
            path = self.work_dir / "run.log"
            raise ConfigError(f"{path}: cannot be written: {error.strerror} (dataset.work_dir)") from None
        self.logged = True
        try:
            with run_log.active():
                try:
                    yield
                except BaseException as error:
                    log_ending(error)
                    raise
        finally:
            run_log.close()

    async def _prepare(self) -> Overlap | None:
        """Make the input available, and decide whether an earlier run of the work_dir continues.

        Returns:
            The evaluation sets whose questions are dropped, if any.
        """
        self._check_writable()
        await self._write_in_thread(self._input.fetch, self._resume)
        overlap = await self._write_in_thread(read_overlap, self.config, keep)
        changed = await self._write_in_thread(
            settle,
            self.work_dir,
            self._shape(overlap),
            self._input.file,
            self._resume,
            defaults=default_shape(),
            may_start_over=self._retry is None,
        )
        for key in changed:
            log.warning("manifest.changed", key=key, effect="finished rows stay, rows still pending get the new value")
        if self._keep:
            await self._write_in_thread(keep_config, self.config)
        return overlap

    @asynccontextmanager
    async def _open(self, overlap: Overlap | None) -> AsyncIterator[Opened]:
        """Open the run's files and endpoints and build its stages; close everything on exit."""
        config, store = self.config, RunStore.of(self.config)
        account = store.account.up_to(self._steps[-1].name)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            await self._write_in_thread(store.open)
            for file, size in store.torn.items():
                log.warning(
                    "ledger.cut", file=file, bytes=size, effect="an unfinished last line; its work is done again"
                )
            only = await asyncio.to_thread(self._failed, store) if self._retry is not None else None
            host = self._host
            if self._owns_host:
                await stack.enter_async_context(host)
            folder = await asyncio.to_thread(self.work_dir.resolve)
            host.count_spent(folder, store.journal.total_usd)
            stack.callback(lambda: host.note_spent(folder, store.journal.total_usd))
            names = dict.fromkeys(config.roles().values())
            opened = {
                name: await host.open(name, self.work_dir / f"vllm-{number}.log") for number, name in enumerate(names)
            }
            endpoints = {name: endpoint for name, (endpoint, _) in opened.items()}
            models = wrap_models(config, opened, store.journal, self.drain)
            stages, counters = build_stages(
                config,
                self._prompts,
                self._steps,
                models=models,
                endpoints=endpoints,
                account=account,
                pool=host.pool,
                overlap=overlap,
                drain=self.drain,
                redact=self._redact,
            )
            observer = Observer(
                stages=stages,
                endpoints=endpoints,
                journal=store.journal,
                account=account,
                queue_size=config.engine.queue_size,
                verdicts=counters.verdicts,
                bits=counters.bits,
                scorer=self._scorer,
                count=self._input.count,
                only=only,
            )
            stack.push(self._end(observer))
            log.info("run.started", steps=[step.name for step in self._steps], **self._named())
            yield Opened(store, endpoints, host, stages, counters, account, observer, only)

    async def _drive(self, work: Opened) -> None:
        """Take the rows through the stages, while the monitors run."""
        async with asyncio.TaskGroup() as group:
            monitors = [
                group.create_task(stop_when_exhausted(work.host.budget, self.drain)),
                group.create_task(work.observer.watch()),
                group.create_task(progress(work.observer)),
            ]
            await run(
                self._input.questions,
                work.stages,
                account=work.account,
                drain=self.drain,
                finished=work.store.journal.release,
                only=work.only,
                salvage_rounds=self.config.engine.salvage_rounds,
            )
            for monitor in monitors:
                monitor.cancel()

    async def _report(self, work: Opened, began: float) -> Summary:
        """Write the output files and sum up the run."""
        files = {self._file_of(step): step for step in self._steps}
        await self._write_in_thread(write_output_files, files, work.account, self.failures)
        last = self._steps[-1]
        return Summary(
            totals=await asyncio.to_thread(work.account.totals, self._input.rows),
            through=last.name,
            roles=[
                RoleUse(role=role, endpoint=name, **msgspec.structs.asdict(spent))
                for (role, name), spent in work.store.journal.spent.items()
            ],
            output=str(self._file_of(last)),
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

    def compare(self, overlap: Overlap | None, resume: Resume) -> tuple[Manifest | None, list[str]]:
        """The earlier run that this one would continue, if any, and the keys that changed since. Blocks.

        Raises:
            ConfigError: it cannot be continued.
        """
        if not self._input.file.exists():  # a data set of a hub that no run has fetched yet
            return None, []
        old, _, changed = compare(
            self.work_dir, self._shape(overlap), self._input.file, resume, defaults=default_shape()
        )
        return old, changed

    def _shape(self, overlap: Overlap | None) -> dict[str, Any]:
        shape = result_shape(self.config, msgspec.to_builtins(self._prompts), self._scorer.version)
        return shape | ({"dataset.decontaminate": overlap.digest} if overlap else {})

    def _check_writable(self) -> None:
        """Check that results can be written, before anything is paid for. Raises ``ConfigError``."""
        for path, key in ((self.work_dir, "work_dir"), (self._output.parent, "finetune_out")):
            try:
                make_private(path)
                tempfile.TemporaryFile(dir=path).close()
            except OSError as error:
                raise ConfigError(f"{path}: cannot be written: {error.strerror} (dataset.{key})") from None

    async def _write_in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write to the work_dir in a thread. If this task is cancelled, the write still finishes and keeps the lock.

        Raises:
            RunStopped: the disk refuses.
        """
        held = -1

        def write() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                os.close(held)

        try:
            held = os.dup(self._lock)
            return await asyncio.to_thread(write)
        except OSError as error:
            where = f"{error.filename or self.work_dir}: {error.strerror or error}"
            raise RunStopped(where, hint=f"{fix_hint(error)}; nothing acknowledged is lost.") from error

    def _named(self) -> dict[str, Any]:
        """The absolute names of the input and the other files that no export may replace."""
        source = self._input.name
        sets = [name for name in self.config.dataset.decontaminate if not is_hub(Path(name))]
        return {
            "input": str(source if is_hub(source) else source.resolve()),
            "sets": [str(Path(name).resolve()) for name in sets],
            "output": str(self._output.resolve()),
        }

    def _failed(self, store: RunStore) -> set[int]:
        """The rows to retry. Raises ``ConfigError`` if there are none: then there is nothing to do."""
        assert self._retry is not None
        rows, kinds = store.account.failed_rows(self._retry)
        if not rows:
            found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
            message = f"{self.work_dir}: no failed question to try again (failed there: {found or 'none'})"
            if lines := store.account.unreadable:
                message += f". {unreadable_advice(lines, self.failures, self._input.name)}"
            raise ConfigError(message)
        return rows

    def _end(self, observer: Observer) -> Callable[..., None]:
        def end(_kind: object, error: BaseException | None, _trace: object) -> None:
            observer.end(self._redact(ending_of(error)), None if error else self._input.rows)

        return end

    def _file_of(self, step: Step) -> Path:
        return self._output if step is METHOD[-1] else self.work_dir / step.file


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
