"""One run over one work_dir: prepare, open, drive, conclude.

A run is a value without global state: several may run in one process, each on its own host or all on one. It installs
no signal handler, configures no logging and never ends the process; only the command line does that.
"""

import asyncio
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec

from weak2wise.config import Config
from weak2wise.config.shape import default_shape
from weak2wise.dataset import naming_setting
from weak2wise.dataset.given import Questions
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.manifest import Manifest, Resume, compare, load_manifest
from weak2wise.ledger.parts import Partition
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.drain import Drain
from weak2wise.outputs.summary import Summary
from weak2wise.paths import check_paths
from weak2wise.run.conclusion import Ended, conclude
from weak2wise.run.drive import drive_watched
from weak2wise.run.driver import Holders
from weak2wise.run.held_files import HeldFiles
from weak2wise.run.host import Host
from weak2wise.run.input import Input
from weak2wise.run.local import LocalHolders
from weak2wise.run.logged import logged
from weak2wise.run.opened import Opened
from weak2wise.run.partition import settled_partition
from weak2wise.run.parts_run import PartsRun
from weak2wise.run.plan import Plan, Recipe
from weak2wise.run.preparation import Prepared, prepare
from weak2wise.telemetry.log import Echo, log
from weak2wise.telemetry.redaction import message_redactor
from weak2wise.watch.observer import Observed
from workers.decontaminate import Overlap
from workers.method import METHOD
from workers.scorers import check_min_score

GRACE_SECONDS = 2.0
"""How long to wait for answers in flight when a run is interrupted."""


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
        config_file: the file that the config is from; it is named in the log.
        echo: shows warnings and progress to the user, besides the log.
        holders: hosts in other processes, which work on parts of the input; ``None``: this process's host works alone.

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
        config_file: Path | None = None,
        echo: Echo | None = None,
        holders: Holders | None = None,
    ) -> None:
        self.config = config
        self.drain = Drain()
        self.logged = False
        """Whether this run's log is open, or was."""
        recipe = Recipe.of(config, up_to_step)
        self._plan = Plan(
            **vars(recipe),
            input=Input(config, questions, limit),
            resume=resume,
            retry=retry,
            config_file=config_file,
        )
        self._echo = echo
        self._holders = holders
        if host is not None:
            host.check(config)
        self._host = host or Host(config)
        self._owns_host = host is None
        check_min_score(config, self._plan.scorer)
        if self._plan.scorer.asks_logprobs:
            self._host.check_logprobs(config.models.mweak)
        self.redact = message_redactor(self._host.secrets(config))
        """Removes this run's secrets from a text."""
        check_paths(config, given=questions is not None)
        if retry is not None and not self._plan.manifest_file.exists():
            raise ConfigError(f"{self.work_dir}: holds no run, so no question has failed there (dataset.work_dir)")

    @property
    def work_dir(self) -> Path:
        """The run's folder."""
        return self._plan.work_dir

    @property
    def budget(self) -> CostBudget:
        """The cost budget of its host."""
        return self._host.budget

    @property
    def failures(self) -> Path:
        """The file that lists the rows that failed."""
        return self._plan.failures

    @property
    def summary_file(self) -> Path:
        """The file with the summary of a finished run."""
        return self.work_dir / "summary.json"

    async def run(self, opened: "asyncio.Future[Observed] | None" = None) -> Summary:
        """Take every input row through the steps of this run, then write the output files.

        Args:
            opened: resolves to the run's observer once the run is open.

        Raises:
            ConfigError: the run cannot start, or the work_dir holds a different one.
            RunStopped: alone or in an exception group: the run stopped and can be resumed.
        """
        began = time.monotonic()
        async with (
            HeldFiles.on(self.work_dir, self._plan.output if self._plan.writes_output else None) as held,
            logged(self.work_dir / "run.log", self.redact, echo=self._echo, peers=self._host.logs),
        ):
            self.logged = True
            plan = self._plan = await asyncio.to_thread(self._going_on, self._plan.resume)
            prepared = await prepare(plan, held)
            if partition := await self._partition(prepared, held):
                parts = PartsRun(plan, prepared, partition, held, drain=self.drain, redact=self.redact)
                summary = await self._run_parts(parts, opened, began)
            else:
                summary = await self._run_whole(prepared, held, opened, began)
            pretty = msgspec.json.format(msgspec.json.encode(summary), indent=1)
            await held.write_in_thread(write_atomic, self.summary_file, [pretty, b"\n"])
            totals = msgspec.to_builtins(summary.totals)
            log.info("run.finished", totals=totals, seconds=round(time.monotonic() - began, 1))
            return summary

    async def _partition(self, prepared: Prepared, held: HeldFiles) -> Partition | None:
        """How the input is divided into parts; ``None``: it is not."""
        wanted = self._holders is not None
        rows = await asyncio.to_thread(self._plan.input.count) if wanted and prepared.manifest.partition is None else 0
        return await held.write_in_thread(settled_partition, self.config, prepared.manifest, rows, wanted=wanted)

    async def _run_whole(
        self, prepared: Prepared, held: HeldFiles, opened: "asyncio.Future[Observed] | None", began: float
    ) -> Summary:
        """Run with all ledgers in the work_dir itself."""
        plan, host = self._plan, self._host if self._owns_host else nullcontext(self._host)
        async with Opened.of(plan, prepared, held, host, drain=self.drain, redact=self.redact) as work:
            if opened:
                opened.set_result(work.observer)
            await drive_watched(
                work, plan.input.questions, held.folder, self.drain, salvage_rounds=self.config.engine.salvage_rounds
            )
            with naming_setting("dataset.input_path"):
                await asyncio.to_thread(plan.input.check)
            return await conclude(plan, held, Ended.of(work, plan.input.rows, began, prepared.manifest.shared_usd))

    async def _run_parts(self, parts: PartsRun, opened: "asyncio.Future[Observed] | None", began: float) -> Summary:
        """Run in parts, on the holders' hosts or on this one."""
        host = self._host if self._owns_host and self._holders is None else nullcontext(self._host)
        async with host as on:
            local = LocalHolders(self.config, on, self.drain, self._echo)
            return await parts.run(self._holders or local, on, local.workers, opened, began)

    def compare(self, overlap: Overlap | None, resume: Resume) -> tuple[Manifest | None, list[str]]:
        """The earlier run that this one would continue, if any, and the keys that changed since. Blocks.

        Raises:
            ConfigError: it cannot be continued.
        """
        file = self._plan.input.file
        if not file.exists():  # a data set of a hub that no run has fetched yet
            return None, []
        plan = self._going_on(resume)
        shape = plan.shape(overlap)
        old, _, changed = compare(self.work_dir, shape, file, resume, defaults=default_shape(), begun=plan.begun)
        return old, changed

    def _going_on(self, resume: Resume) -> Plan:
        """The plan with what the work_dir's run was begun with. Blocks; raises ``ConfigError``."""
        return self._plan.going_on(load_manifest(self._plan.manifest_file) if resume != "never" else None)
