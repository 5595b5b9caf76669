"""One run: joins the workers to the machinery. ``python -m weak2wise.engine`` runs its commands."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import structlog

from weak2wise.assembly import Books, open_endpoints, read_overlap
from weak2wise.beside import log_ending, progress, stop_when_empty
from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.config.shape import result_shape
from weak2wise.dataset import asked_by, at_hand, count_rows, is_hub, keep, read_rows
from weak2wise.errors import ConfigError, StopRun
from weak2wise.ledger.files import locked, make_private, mend, write_atomic
from weak2wise.ledger.manifest import Manifest, Resume, compare, settle
from weak2wise.ledger.outcomes import Failed, Status
from weak2wise.lineup import line_up
from weak2wise.llm.gate import Gate
from weak2wise.llm.openai import OpenAIModel
from weak2wise.llm.purse import Purse
from weak2wise.llm.vllm import VllmModel, check_vllm
from weak2wise.offload import Offload
from weak2wise.pipeline import Stage, run
from weak2wise.places import check_places, output_of
from weak2wise.results import failed_rows, totals, unreadable, write_views
from weak2wise.summary import EndpointUse, RoleUse, Summary, ThisStart
from weak2wise.telemetry import log as logs
from weak2wise.telemetry.plain import redactor
from weak2wise.watch.board import Observer
from workers.answers import warm_up
from workers.decontaminate import Overlap
from workers.method import METHOD, step_named
from workers.prompts import Prompts
from workers.records import Asked, Question
from workers.scorers import scorer_named

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")


class Engine:
    """One run over one work_dir; construct it, then ``await run()``."""

    def __init__(
        self,
        config: Config,
        *,
        resume: Resume = "auto",
        up_to_step: int = len(METHOD),
        retry: frozenset[str] | None = None,
        verbose: bool = False,
    ) -> None:
        """Check what can be checked without any call.

        Args:
            config: what to run.
            resume: what to do about an earlier run of the work_dir.
            up_to_step: how many of the method's steps to take.
            retry: the error kinds whose failed rows are the only ones to work on; ``None`` works on all that is owed.
            verbose: show every event of the log.

        Raises:
            ConfigError: the run cannot start.
        """
        self._config = config
        self._resume: Resume = resume
        self._steps = [step.name for step in METHOD[:up_to_step]]
        self._prompts = Prompts.of(config.prompts)
        self._scorer = scorer_named(config.params.scorer)
        self._work_dir = Path(config.dataset.work_dir)
        self._input = Path(config.dataset.input_path)
        self._output = output_of(config)
        self._retry = retry
        self._verbose = verbose
        self._rows = 0
        self._lock = -1
        self.observer: asyncio.Future[Observer] | None = None
        """Set before ``run``: told who looks at the run, once there is something to see."""
        self._redact = redactor(_secrets(config))
        self.gate = Gate()
        for name in dict.fromkeys(config.roles().values()):
            endpoint = config.endpoints[name]
            if not isinstance(endpoint, OpenAIEndpoint):
                check_vllm(name, endpoint)
        check_places(config)
        if retry is not None and not (self._work_dir / "manifest.json").exists():
            raise ConfigError(f"{self._work_dir}: holds no run, so no question has failed there (dataset.work_dir)")

    @property
    def failures(self) -> Path:
        """The file that lists the rows that failed."""
        return self._work_dir / "failed.jsonl"

    @property
    def summary(self) -> Path:
        """The file that a finished run leaves its summary in."""
        return self._work_dir / "summary.json"

    async def run(self) -> Summary:
        """Take every input row as far as this run goes, then write the views.

        Raises:
            ConfigError: the run cannot start, or the work_dir holds another one.
            StopRun: alone or in an exception group: the run stopped resumably.
        """
        began = time.monotonic()
        with locked(self._work_dir) as self._lock:
            self._prepare()
            if is_hub(self._input):
                with asked_by("dataset.input_path"):
                    self._input = await self._write_aside(keep, self._input, self._work_dir)
            overlap = await self._write_aside(read_overlap, self._config, keep)
            shape = self._shape(overlap)
            for key in await self._write_aside(
                settle, self._work_dir, shape, self._input, self._resume, anew=self._retry is None
            ):
                log.warning("manifest.changed", key=key, effect="finished rows stay, rows still owed get the new value")
            books = Books.of(self._config)
            async with AsyncExitStack() as stack:
                stack.push_async_callback(books.close)
                await self._write_aside(books.open)
                only = await asyncio.to_thread(self._failed, books) if self._retry is not None else None
                purse = Purse(self._config.engine.max_cost_usd)
                purse.pay(sum(spent.cost_usd for spent in books.journal.spent.values()))
                endpoints = await stack.enter_async_context(open_endpoints(self._config, purse, self.gate))
                offload = Offload(warm_up=warm_up)
                stack.push_async_callback(offload.close)
                lineup = line_up(
                    self._config,
                    self._prompts,
                    endpoints,
                    books,
                    gate=self.gate,
                    offload=offload,
                    redact=self._redact,
                    overlap=overlap,
                )
                stages = lineup.stages[: len(self._steps)]
                log.info("run.started", steps=self._steps, **self._named())
                observer = Observer(
                    stages=stages,
                    endpoints=endpoints,
                    journal=books.journal,
                    intake=books.intake,
                    queue_size=self._config.engine.queue_size,
                    verdicts=lineup.verdicts,
                    bits=lineup.bits,
                    scorer=lineup.scorer,
                    count=lambda: count_rows(self._input),
                    only=only,
                )
                stack.push(
                    lambda _, error, __: observer.end(self._redact(log_ending(error)), None if error else self._rows)
                )
                stages[-1].emits = True
                if self.observer:
                    self.observer.set_result(observer)
                async with asyncio.TaskGroup() as group:
                    besides = [
                        group.create_task(stop_when_empty(purse, self.gate)),
                        group.create_task(observer.watch()),
                        group.create_task(progress(observer)),
                    ]
                    await run(
                        self._questions,
                        stages,
                        intake=books.intake,
                        gate=self.gate,
                        queue_size=self._config.engine.queue_size,
                        finished=books.journal.release,
                        only=only,
                        salvage_rounds=self._config.engine.salvage_rounds,
                    )
                    for task in besides:
                        task.cancel()
                await self._write_aside(self._write, stages, books)
                summary = Summary(
                    totals=await asyncio.to_thread(totals, self._rows, [s.ledger for s in stages], books.intake),
                    through=self._steps[-1],
                    roles=[
                        RoleUse(role=role, endpoint=name, **msgspec.structs.asdict(spent))
                        for (role, name), spent in books.journal.spent.items()
                    ],
                    output=str(self._view_path(self._steps[-1])),
                    this_start=ThisStart(
                        seconds=round(time.monotonic() - began, 1),
                        replayed=dict(books.journal.replayed),
                        endpoints=_uses(endpoints),
                        verdicts=dict(lineup.verdicts),
                        cuts=dict(lineup.cuts),
                        bits=dict(lineup.bits),
                    ),
                )
            pretty = msgspec.json.format(msgspec.json.encode(summary), indent=1)
            await self._write_aside(write_atomic, self.summary, [pretty, b"\n"])
            log.info("run.finished", totals=msgspec.to_builtins(summary.totals), seconds=summary.this_start.seconds)
            return summary

    async def _write_aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write to the work_dir on a thread; it outlives who is cancelled in waiting for it, and so does the lock."""
        held = os.dup(self._lock)

        def write() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                os.close(held)

        return await asyncio.to_thread(write)

    def compare(self, overlap: Overlap | None, resume: Resume) -> tuple[Manifest | None, list[str]]:
        """The work_dir's earlier run that this one would go on with, if any, and the keys that changed since. Blocks.

        Raises:
            ConfigError: it may not go on.
        """
        source = at_hand(self._input, self._work_dir)
        if not source.exists():  # a data set that no run has kept yet
            return None, []
        old, _, changed = compare(self._work_dir, self._shape(overlap), source, resume)
        return old, changed

    def _shape(self, overlap: Overlap | None) -> dict[str, Any]:
        shape = result_shape(self._config, msgspec.to_builtins(self._prompts), scorer_version=self._scorer.version)
        return shape | ({"dataset.decontaminate": overlap.digest} if overlap else {})

    def _prepare(self) -> None:
        """Open the log, and see that what is paid for can be written down. Raises ``ConfigError``."""
        path = self._work_dir / "run.log"
        try:
            logs.configure(path, self._redact, verbose=self._verbose)
            for path in (self._work_dir, self._output.parent):
                make_private(path)
                tempfile.TemporaryFile(dir=path).close()
        except OSError as error:
            key = "finetune_out" if path == self._output.parent else "work_dir"
            raise ConfigError(f"{path}: cannot be written: {error.strerror} (dataset.{key})") from None

    def _named(self) -> dict[str, Any]:
        """The input and the other files that no export may take the place of, by names that hold in any folder."""
        dataset = self._config.dataset
        source = Path(dataset.input_path)
        sets = [name for name in dataset.decontaminate if not is_hub(Path(name))]
        return {
            "input": str(source if is_hub(source) else source.resolve()),
            "sets": [str(Path(name).resolve()) for name in sets],
            "output": str(self._output.resolve()),
        }

    async def _questions(self) -> AsyncIterator[Asked | Failed]:
        self._rows = 0
        async for row in read_rows(self._input, self._config.dataset.columns):
            self._rows += 1
            if isinstance(row, Failed):
                yield row
            else:
                yield Asked(question=Question(row=row.number, id=row.id, text=row.question, answer=row.answer))

    def _failed(self, books: Books) -> set[int]:
        """The rows to try again. Raises ``ConfigError`` if there are none: then there is nothing to do."""
        assert self._retry is not None
        rows, kinds = failed_rows(list(books.steps.values()), self._retry)
        if not rows:
            found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
            said = f"{self._work_dir}: no failed question to try again (failed there: {found or 'none'})"
            if lines := books.intake.tally[Status.FAILED]:
                said += f". {unreadable(lines, self.failures, Path(self._config.dataset.input_path))}"
            raise ConfigError(said)
        return rows

    def _write(self, stages: list[Stage[Any]], books: Books) -> None:
        paths = {self._view_path(name): step_named(name).lines for name in self._steps}
        try:
            write_views(paths, [s.ledger for s in stages], self.failures, books.intake)
        except OSError as error:
            path = error.filename or self._work_dir
            raise StopRun(f"{path}: {error.strerror}", hint=f"{mend(error)}.") from None

    def _view_path(self, step: str) -> Path:
        return self._output if step == METHOD[-1].name else self._work_dir / step_named(step).file


def _uses(endpoints: dict[str, OpenAIModel | VllmModel]) -> list[EndpointUse]:
    return [
        EndpointUse(
            endpoint=name,
            sent=e.meter.sent,
            answered=e.meter.answered,
            faults=dict(e.meter.faults),
        )
        for name, e in endpoints.items()
        if isinstance(e, OpenAIModel)
    ]


def _secrets(config: Config) -> list[str]:
    """The values that must never be shown: API keys and header values from the environment."""
    endpoints = [endpoint for endpoint in config.endpoints.values() if isinstance(endpoint, OpenAIEndpoint)]
    return [os.environ.get(variable, "") for endpoint in endpoints for variable in endpoint.secrets().values()]


if __name__ == "__main__":
    # Not above: the commands import this module.
    from weak2wise.commands import main

    main()
