"""One run over one work_dir: prepare, open, drive, report.

A run is a value without global state: several may run in one process, each on its own host or all on one. It installs
no signal handler, configures no logging and never ends the process; only the command line does that.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Container, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from weak2wise.config import Config
from weak2wise.config.shape import default_shape, result_shape
from weak2wise.dataset import is_hub, keep, naming_setting, unreadable_advice
from weak2wise.dataset.given import Questions
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.account import Account
from weak2wise.ledger.files import fix_hint, locked, make_private, remove_temporary, write_atomic
from weak2wise.ledger.manifest import Manifest, Resume, compare, load_manifest, settle
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.error_rate import ErrorRate
from weak2wise.outputs.claim import Claim, check_work_dir
from weak2wise.outputs.output_files import write_output_files
from weak2wise.outputs.summary import EndpointUse, RoleUse, Summary, ThisStart
from weak2wise.outputs.warnings import warnings
from weak2wise.paths import OWN, check_paths, output_of
from weak2wise.pipeline import Stage, run
from weak2wise.run.held_folder import HeldFolder
from weak2wise.run.host import Host
from weak2wise.run.input import Input
from weak2wise.run.kept_config import keep_config
from weak2wise.run.models import wrap_models
from weak2wise.run.monitors import ending_of, log_ending, progress, stop_when_exhausted, stop_when_moved
from weak2wise.run.overlap import read_overlap
from weak2wise.run.side_costs import side_costs_usd
from weak2wise.run.stages import Counters, build_stages
from weak2wise.run.store import RunStore
from weak2wise.telemetry.log import Echo, RunLog, log
from weak2wise.telemetry.redaction import message_redactor
from weak2wise.watch.board import Observer
from workers.decontaminate import Overlap
from workers.method import METHOD, Step
from workers.prompts import Prompts
from workers.rules import RULES
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
    rates: Sequence[ErrorRate]
    """The failures of each kind of role."""
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
        self._changed: list[str] = []
        self._rules = RULES
        self._locks: list[int] = []
        """The file descriptors that hold the locks of the work_dir and, with the last step, of the output file."""
        self._claim: Claim | None = None
        if host is not None:
            host.check(config)
        self._host = host or Host(config)
        self._owns_host = host is None
        self.redact = message_redactor(self._host.secrets(config))
        """Removes this run's secrets from a text."""
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
        with ExitStack() as stack:
            self._locks.append(stack.enter_context(locked(self.work_dir)))
            self._folder = await asyncio.to_thread(HeldFolder, self.work_dir)
            if self._steps[-1] is METHOD[-1]:
                self._claim = stack.enter_context(Claim.on(self._output, self.work_dir))
                self._locks.append(self._claim.lock)
            async with self._logged():
                overlap = await self._prepare()
                async with self._open(overlap) as work:
                    if opened:
                        opened.set_result(work.observer)
                    await self._drive(work)
                    with naming_setting("dataset.input_path"):
                        await asyncio.to_thread(self._input.check)
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
            run_log = RunLog(self.work_dir / "run.log", self.redact, echo=self._echo, peers=self._host.logs)
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
        await self._write_in_thread(self._check_outputs)
        await self._write_in_thread(self._input.fetch, self._resume)
        with naming_setting("dataset.input_path"):
            await asyncio.to_thread(self._input.note)
        await asyncio.to_thread(self._check_rows)
        overlap = await self._write_in_thread(read_overlap, self.config, keep)
        changed = await self._write_in_thread(
            settle,
            self.work_dir,
            self._shape(overlap),
            self._input.file,
            self._resume,
            rules=RULES,
            defaults=default_shape(),
            may_start_over=self._retry is None,
        )
        self._changed = changed
        self._rules = await asyncio.to_thread(self._kept_rules)
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
            manifest = await asyncio.to_thread(load_manifest, self.work_dir / "manifest.json")
            assert manifest is not None  # settled just now
            self._input.expect(manifest.input)
            await self._write_in_thread(store.open, manifest.settings)
            for file, size in store.torn.items():
                log.warning(
                    "ledger.cut", file=file, bytes=size, effect="an unfinished last line; its work is done again"
                )
            only = await asyncio.to_thread(self._failed, store) if self._retry is not None else None
            await asyncio.to_thread(self._log_changes, manifest, store.account, only)
            host = self._host
            if self._owns_host:
                await stack.enter_async_context(host)
            folder = await asyncio.to_thread(self.work_dir.resolve)
            side_costs = await asyncio.to_thread(side_costs_usd, folder)
            host.count_spent(folder, side_costs + store.journal.total_usd)
            stack.callback(lambda: host.note_spent(folder, side_costs + store.journal.total_usd))
            names = dict.fromkeys(config.roles().values())
            opened = {
                name: await host.open(name, self.work_dir / f"vllm-{number}.log") for number, name in enumerate(names)
            }
            endpoints = {name: endpoint for name, (endpoint, _) in opened.items()}
            models, rates = wrap_models(config, opened, store.journal, self.drain)
            stages, counters = build_stages(
                config,
                self._prompts,
                self._steps,
                models=models,
                endpoints=endpoints,
                account=account,
                rules=self._rules,
                pool=host.pool,
                overlap=overlap,
                drain=self.drain,
                redact=self.redact,
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
                rules=self._rules,
                count=self._input.count,
                only=only,
            )
            stack.push(self._end(observer))
            log.info("run.started", steps=[step.name for step in self._steps], **self._named())
            yield Opened(store, endpoints, host, stages, rates, counters, account, observer, only)

    async def _drive(self, work: Opened) -> None:
        """Take the rows through the stages, while the monitors run."""
        async with asyncio.TaskGroup() as group:
            monitors = [
                group.create_task(stop_when_exhausted(work.host.budget, self.drain)),
                group.create_task(work.observer.watch()),
                group.create_task(progress(work.observer)),
                group.create_task(stop_when_moved(self._folder, self.drain)),
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
        await asyncio.to_thread(self._folder.check)
        files = {self._file_of(step): step for step in self._steps}
        await self._write_in_thread(write_output_files, files, work.account, self.failures, self._claim)
        last = self._steps[-1]
        masked = self.config.params.scorer == "stepmask"
        suspicious = await asyncio.to_thread(warnings, work.account, work.counters.verdicts, masked=masked)
        shortfalls = [found for rate in work.rates for found in rate.shortfalls()]
        shortfalls += [found for stage in work.stages for found in stage.shortfalls()]
        for text in shortfalls + suspicious:
            log.info("run.suspicious", what=text)
        return Summary(
            shortfalls=shortfalls,
            warnings=suspicious,
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

    def _kept_rules(self) -> int:
        """The version of the rules that this work_dir was begun with."""
        path = self.work_dir / "manifest.json"
        manifest = load_manifest(path)
        assert manifest is not None
        if manifest.rules > RULES:
            raise ConfigError(
                f"{path}: the run was begun with rules {manifest.rules}, and this version of weak2wise knows {RULES}; "
                "install the version that began it, or choose another dataset.work_dir"
            )
        return manifest.rules

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

    def _check_rows(self) -> None:
        """Check the input's first rows, unless an earlier run has begun with them. Blocks; raises ``ConfigError``."""
        if self._resume == "never" or not (self.work_dir / "manifest.json").exists():
            self._input.check_rows()

    def _check_outputs(self) -> None:
        """Check that no file of somebody else would be replaced, and remove what a killed run left. Blocks."""
        check_work_dir(self.work_dir)
        if self._claim:
            self._claim.check()
        own = [self.work_dir / name for name in OWN]
        for path in [*own, *([self._output] if self._claim else [])]:
            with suppress(OSError):
                remove_temporary(path)

    async def _write_in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write the run's files in a thread. A write finishes, and keeps the locks, also if this task is cancelled.

        Raises:
            RunStopped: the disk refuses.
        """
        held: list[int] = []

        def write() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                for lock in held:
                    os.close(lock)

        try:
            held += [os.dup(lock) for lock in self._locks]
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

    def _log_changes(self, manifest: Manifest, account: Account, only: Collection[int] | None) -> None:
        """Log each setting that ``--resume force`` changed, and how many questions get its new value. Blocks."""
        if not self._changed:
            return
        pending = account.pending(only)
        if only is None:
            pending[0] = max(0, pending[0] + self._input.count() - account.unreadable)
        for key in self._changed:
            last = max(
                (at for at, step in enumerate(METHOD) if step.depends_on(key, manifest.shapes().values())),
                default=len(METHOD) - 1,
            )
            count = sum(pending[: last + 1])
            log.warning(
                "manifest.changed",
                key=key,
                effect=f"{count:,} question{'' if count == 1 else 's'} get{'s' if count == 1 else ''} the new value, "
                f"those that have not passed the step {METHOD[last].name} yet; the others keep what the old one made",
            )

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
            observer.end(self.redact(ending_of(error)), None if error else self._input.rows)

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
