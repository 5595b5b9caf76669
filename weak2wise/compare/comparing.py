"""A comparison from beginning to end: questions, endpoints, one scorer after the other, measures, files."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.access import refusal
from weak2wise.compare.material import Material, material_of
from weak2wise.compare.scoring import Scoring
from weak2wise.compare.settings import scoring_config
from weak2wise.config import Config
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint, locked, make_private, write_atomic
from weak2wise.llm.batch.batches import Batches
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.drain import Drain
from weak2wise.llm.journal import Journal
from weak2wise.outputs.comparison.compared import comparison
from weak2wise.outputs.comparison.facts import Choice, Compared, Comparison, Cost
from weak2wise.outputs.comparison.measures import STEPMASK
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.begun import begun_with
from weak2wise.run.ending import log_ending
from weak2wise.run.host import Host
from weak2wise.run.models import Roles, wrap_models
from weak2wise.run.monitors import PROGRESS_SECONDS, stop_when_exhausted
from weak2wise.run.side_costs import COMPARISON, spent_usd
from weak2wise.telemetry.log import Echo, RunLog, log
from weak2wise.telemetry.redaction import message_redactor
from workers.prompts import Prompts
from workers.scorers import Scorer, scorer_named

_KEY = "--scorers"
_ELAPSED = "elapsed.json"


class Elapsed(Struct):
    """How fast a scorer's new answers came: calls and seconds, over all starts of the comparison."""

    calls: int = 0
    seconds: float = 0.0


class Comparing:
    """One comparison of scorers on the traces of a run; construct it, then ``await run()``, once.

    What it asks is kept in a journal of its own, in the folder ``compare`` of the work_dir; what the run has asked is
    found in the run's. So the same comparison, started again, asks nothing twice. Nothing of the run is changed.

    Args:
        work: the run.
        config: the run's config.
        scorers: what to compare with Step-Mask, by name or import path.
        draws: how often each chooses, each time with another seed; at least two.
        sample: how many questions, at most.
        echo: shows warnings and progress to the user, besides the log.

    Raises:
        ConfigError: something is wrong that can be known before anything is asked.
    """

    def __init__(
        self,
        work: WorkDir,
        config: Config,
        scorers: Sequence[str],
        *,
        draws: int,
        sample: int,
        echo: Echo | None = None,
    ) -> None:
        self.folder = work.folder / COMPARISON
        self.drain = Drain()
        self.logged = False
        """Whether the comparison's log is open, or was."""
        self._work = work
        self._config = scoring_config(config, work)
        names = dict.fromkeys([STEPMASK, *scorers])
        self._scorers = {name: scorer_named(name, _KEY) for name in names}
        self._draws = draws
        self._sample = sample
        self._echo = echo
        self._host = Host(self._config)
        self.redact = message_redactor(self._host.secrets(self._config))
        """Removes this run's secrets from a text."""
        for name, scorer in self._scorers.items():
            if scorer.asks_logprobs:
                try:
                    self._host.check_logprobs(self._config.models.mweak)
                except ConfigError as error:
                    raise ConfigError(f"{_KEY} {name}: {error}") from None

    async def run(self) -> Comparison:
        """Ask what is missing, measure, and write ``compare.json`` into the folder.

        Raises:
            ConfigError: there is nothing to compare, or a journal is damaged.
            RunStopped: alone or in an exception group: it stopped and can be resumed.
        """
        with locked(self.folder):
            run_log = self._open_log()
            try:
                with run_log.active():
                    return await self._logged()
            finally:
                run_log.close()

    def _open_log(self) -> RunLog:
        path = self.folder / "compare.log"
        try:
            made = RunLog(path, self.redact, echo=self._echo, peers=self._host.logs)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {refusal(path, error)}") from None
        self.logged = True
        return made

    async def _logged(self) -> Comparison:
        try:
            params = self._config.params
            material = await asyncio.to_thread(
                material_of, self._work, self._sample, seed=params.seed, faithful_only=params.require_faithful
            )
            log.info("compare.started", questions=len(material.rows), scorers=list(self._scorers), draws=self._draws)
            questions, costs, failed = await self._ask(material)
            if len(questions) < 2:
                raise RunStopped(
                    f"{self.folder}: {len(questions)} questions could be scored by every scorer; left out: "
                    f"{', '.join(f'{count:,} {kind}' for kind, count in failed.items())}",
                    hint=f"Fix what fails ({self.folder / 'compare.log'} has more).",
                )
            log.info("compare.measuring", questions=len(questions))
            found = await asyncio.to_thread(
                comparison,
                self._work,
                params,
                questions,
                costs,
                created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                sample=self._sample,
                available=material.available,
                left_out=material.left_out,
                failed=failed,
            )
            await self._write("compare.json", msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        except BaseException as error:
            log_ending(error)
            raise
        log.info("compare.finished")
        return found

    async def _ask(self, material: Material) -> tuple[list[Compared], dict[str, Cost], Counter[str]]:
        """Every scorer's choices, what each used, and how many questions failed. Opens and closes all that it needs."""
        config, engine = self._config, self._config.engine
        run = self._work.journal
        options: dict[str, Any] = {"max_bytes": engine.shard_mb << 20, "fsync_seconds": engine.fsync_seconds}
        journal = Journal(self.folder / "ledger", also=run, **options)
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(make_private, self.folder / "ledger")
            if engine.max_cost_usd is not None:  # two processes cannot keep one cap
                stack.enter_context(locked(self._work.folder))
                folder = self._work.folder.resolve()
                self._host.count_spent(folder, await asyncio.to_thread(spent_usd, folder))
            stack.push_async_callback(journal.close)
            await asyncio.to_thread(self._open, journal)
            await asyncio.to_thread(run.seek, material.rows)
            host = await stack.enter_async_context(self._host)
            roles = await Roles.on(host, config, self.folder)
            batches = Batches(self.folder, BatchRecord(self.folder / "ledger", **options), journal, self.drain)
            stack.callback(batches.close)
            begun = await asyncio.to_thread(begun_with, config, self._work.manifest)
            models = wrap_models(config, roles, journal, self.drain, batches, begun=begun)
            scoring = Scoring(
                self._work,
                config,
                models,
                roles.endpoints,
                host.pool,
                prompts=Prompts.of(config.prompts, begun.prompts),
                draws=self._draws,
                drain=self.drain,
            )
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(stop_when_exhausted(host.budget, self.drain))
                choices, costs = await self._each(scoring, material.rows, journal)
                watch.cancel()
        failed = Counter[str](error.kind for error in scoring.failed.values())
        return _joined(choices, scoring, material.rows), costs, failed

    def _open(self, journal: Journal) -> None:
        """Index all answers of earlier starts of the comparison. Blocks. Raises ``ConfigError``, ``DiskError``."""
        try:
            journal.open(lambda _role: b"")
        except ConfigError as error:  # `repair` is for runs
            raise ConfigError(
                f"{str(error).partition('. Restore')[0]}. Restore the file from a copy; or move {self.folder} away: "
                "then a comparison asks again what it had answered"
            ) from None

    async def _each(
        self, scoring: Scoring, rows: Sequence[int], journal: Journal
    ) -> tuple[dict[str, dict[int, list[Choice]]], dict[str, Cost]]:
        """One scorer after the other. Cheap ones first: what they share with Step-Mask is then new, and is timed."""
        elapsed, costs = await asyncio.to_thread(self._elapsed), {}
        choices: dict[str, dict[int, list[Choice]]] = {}
        for name in sorted(self._scorers, key=lambda name: self._scorers[name].attempts(self._config.params)):
            before = _calls(journal)
            choices[name], cost, seconds = await self._watched(name, self._scorers[name], scoring, rows)
            so_far = elapsed.setdefault(name, Elapsed())
            if new := _calls(journal) - before:
                so_far.calls += new
                so_far.seconds += seconds
                await self._write(_ELAPSED, msgspec.json.encode(elapsed))
            if not cost.calls:
                cost.seconds = seconds / self._draws
            elif so_far.calls:
                cost.seconds = cost.calls * so_far.seconds / so_far.calls
            costs[name] = cost
        return choices, {name: costs[name] for name in self._scorers}

    async def _watched(
        self, name: str, scorer: type[Scorer], scoring: Scoring, rows: Sequence[int]
    ) -> tuple[dict[int, list[Choice]], Cost, float]:
        """One scorer's choices; the log says from time to time how far it is."""
        done = 0

        def note(count: int) -> None:
            nonlocal done
            done = count

        async def report() -> None:
            while True:
                await asyncio.sleep(PROGRESS_SECONDS)
                log.info("progress", scorer=name, questions=f"{done:,} of {len(rows):,}")

        reporting = asyncio.create_task(report())
        try:
            return await scoring.choices(scorer, rows, note)
        finally:
            reporting.cancel()

    def _elapsed(self) -> dict[str, Elapsed]:
        with suppress(OSError, msgspec.DecodeError):  # without it the time is not known of what was asked before
            return msgspec.json.decode((self.folder / _ELAPSED).read_bytes(), type=dict[str, Elapsed])
        return {}

    async def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            await asyncio.to_thread(write_atomic, path, [data])
        except OSError as error:
            raise RunStopped(f"{path}: {error.strerror or error}", hint=f"{fix_hint(error)}.") from error


def _calls(journal: Journal) -> int:
    return sum(spent.calls for spent in journal.spent.values())


def _joined(choices: dict[str, dict[int, list[Choice]]], scoring: Scoring, rows: Sequence[int]) -> list[Compared]:
    """The questions that every scorer could score."""
    return [
        Compared(row, scoring.lengths[row], {name: found[row] for name, found in choices.items()})
        for row in rows
        if row not in scoring.failed
    ]


def page_of(work_dir: Path) -> Path:
    """Where a comparison's page is written."""
    return work_dir / COMPARISON / "compare.html"
