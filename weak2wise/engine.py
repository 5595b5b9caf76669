"""One run: joins the workers to the machinery. ``python -m weak2wise.engine`` runs its commands."""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import structlog

from weak2wise.assembly import STEPS, Books, build_stages, open_endpoints, read_overlap, wire
from weak2wise.beside import progress, stop_when_empty
from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.config.shape import result_shape
from weak2wise.dataset import asked_by, count_rows, is_hub, keep, read_rows
from weak2wise.errors import ConfigError, StopRun
from weak2wise.ledger.files import locked, make_private, write_atomic
from weak2wise.ledger.manifest import Resume, settle
from weak2wise.ledger.outcomes import Failed
from weak2wise.llm.openai import OpenAIModel
from weak2wise.llm.purse import Purse
from weak2wise.llm.vllm import VllmModel, check_vllm
from weak2wise.offload import Offload
from weak2wise.pipeline import Gate, Stage, run
from weak2wise.results import failed_rows, totals, write_views
from weak2wise.telemetry import log as logs
from weak2wise.telemetry.plain import redactor
from weak2wise.telemetry.summary import EndpointUse, RoleUse, Summary
from weak2wise.watch.board import Observer
from workers.answers import warm_up
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Asked, Question

UNLIMITED_ROOM = 256
"""Calls that a weak LLM over HTTP is taken to have room for if nothing is configured."""

log = structlog.get_logger()


class Engine:
    """One run over one work_dir; construct it, then ``await run()``."""

    def __init__(
        self, config: Config, *, resume: Resume = "auto", up_to_step: int = 5, retry: frozenset[str] | None = None
    ) -> None:
        """Check what can be checked without any call.

        Args:
            config: what to run.
            resume: what to do about an earlier run of the work_dir.
            up_to_step: how many of the method's five steps to take.
            retry: the error kinds whose failed rows are the only ones to work on; ``None`` works on all that is owed.

        Raises:
            ConfigError: the run cannot start.
        """
        self._config = config
        self._resume: Resume = resume
        self._steps = list(STEPS)[:up_to_step]
        self._prompts = Prompts.of(config.prompts)
        self._work_dir = Path(config.dataset.work_dir)
        self._input = Path(config.dataset.input_path)
        self._output = Path(config.dataset.finetune_out or self._work_dir / STEPS["sft"][2])
        self._retry = retry
        self._rows = 0
        self.observer: asyncio.Future[Observer] | None = None
        """Set before ``run``: told who looks at the run, once there is something to see."""
        self.verbose = False
        """Set before ``run``: show every event of the log."""
        self._redact = redactor(_secrets(config))
        self.gate = Gate()
        for name in dict.fromkeys(config.roles().values()):
            endpoint = config.endpoints[name]
            if not isinstance(endpoint, OpenAIEndpoint):
                check_vllm(name, endpoint)
        if not is_hub(self._input) and not self._input.is_file():
            raise ConfigError(f"{self._input}: no such file (dataset.input_path)")
        for source in map(Path, config.dataset.decontaminate):
            if not is_hub(source) and not source.is_file():
                raise ConfigError(f"{source}: no such file (dataset.decontaminate)")
        if self._output.resolve() == self._input.resolve():
            raise ConfigError(f"{self._output}: dataset.finetune_out would overwrite dataset.input_path")
        try:
            make_private(self._output.parent)
            tempfile.TemporaryFile(dir=self._output.parent).close()
        except OSError as error:
            raise ConfigError(
                f"{self._output.parent}: cannot be written: {error.strerror} (dataset.finetune_out)"
            ) from None

    @property
    def failures(self) -> Path:
        """The file that lists the rows that failed."""
        return self._work_dir / "failed.jsonl"

    async def run(self) -> Summary:
        """Take every input row as far as this run goes, then write the views.

        Raises:
            ConfigError: the run cannot start, or the work_dir holds another one.
            StopRun: alone or in an exception group: the run stopped resumably.
        """
        began = time.monotonic()
        with locked(self._work_dir):
            logs.configure(self._work_dir / "run.log", self._redact, verbose=self.verbose)
            if is_hub(self._input):
                with asked_by("dataset.input_path"):
                    self._input = await asyncio.to_thread(keep, self._input, self._work_dir)
            prompts = msgspec.to_builtins(self._prompts)
            shape = result_shape(self._config, prompts)
            overlap = await asyncio.to_thread(read_overlap, self._config)
            if overlap:
                shape["dataset.decontaminate"] = overlap.digest
            for key in await asyncio.to_thread(settle, self._work_dir, shape, self._input, self._resume):
                log.warning("manifest.changed", key=key, effect="finished rows stay, rows still owed get the new value")
            books = Books.of(self._config)
            async with AsyncExitStack() as stack:
                stack.push_async_callback(books.close)
                await asyncio.to_thread(books.open)
                only = await asyncio.to_thread(self._failed, books) if self._retry is not None else None
                purse = Purse(self._config.engine.max_cost_usd)
                purse.pay(sum(spent.cost_usd for spent in books.journal.spent.values()))
                endpoints = await stack.enter_async_context(open_endpoints(self._config, purse, self.gate))
                offload = Offload(warm_up=warm_up)
                stack.push_async_callback(offload.close)
                models = wire(self._config, endpoints, books.journal, self.gate)
                params = self._config.params
                judge = Judge(
                    model=models.get("judge"),
                    mode=params.judge_mode,
                    prompts=self._prompts,
                    temperature=params.judge_temperature,
                    offload=offload,
                )
                bits: Counter[str] = Counter()
                cuts: Counter[str] = Counter()
                room = _room(self._config, endpoints)
                weak = endpoints[self._config.models.mweak]
                stages = build_stages(
                    self._config,
                    self._prompts,
                    models,
                    judge,
                    books,
                    bits=bits,
                    cuts=cuts,
                    room=room,
                    free=weak.free if isinstance(weak, VllmModel) else None,
                    redact=self._redact,
                    overlap=overlap,
                )[: len(self._steps)]
                log.info("run.started", steps=self._steps, input=str(self._input))
                observer = Observer(
                    stages=stages,
                    endpoints=endpoints,
                    journal=books.journal,
                    intake=books.intake,
                    queue_size=self._config.engine.queue_size,
                    verdicts=judge.counts,
                    bits=bits,
                    count=lambda: count_rows(self._input),
                )
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
                await asyncio.to_thread(self._write, stages, books)
                summary = Summary(
                    totals=await asyncio.to_thread(totals, self._rows, [s.ledger for s in stages], books.intake),
                    through=self._steps[-1],
                    seconds=round(time.monotonic() - began, 1),
                    roles=[
                        RoleUse(role=role, endpoint=name, replayed=books.journal.replayed[role], **_counts(spent))
                        for (role, name), spent in books.journal.spent.items()
                    ],
                    endpoints=_uses(endpoints),
                    verdicts=dict(judge.counts),
                    cuts=dict(cuts),
                    bits=dict(bits),
                    output=str(self._view_path(self._steps[-1])),
                )
            pretty = msgspec.json.format(msgspec.json.encode(summary), indent=1)
            await asyncio.to_thread(write_atomic, self._work_dir / "summary.json", [pretty, b"\n"])
            log.info("run.finished", totals=msgspec.to_builtins(summary.totals), seconds=summary.seconds)
            return summary

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
            raise ConfigError(f"{self._work_dir}: no failed question to try again (failed there: {found or 'none'})")
        return rows

    def _write(self, stages: list[Stage[Any]], books: Books) -> None:
        paths = {self._view_path(name): STEPS[name][1] for name in self._steps}
        try:
            write_views(paths, [s.ledger for s in stages], self.failures, books.intake)
        except OSError as error:
            raise StopRun(
                f"{error.filename or self._work_dir}: {error.strerror}", hint="Make room on the disk."
            ) from None

    def _view_path(self, step: str) -> Path:
        return self._output if step == "sft" else self._work_dir / STEPS[step][2]


def _counts(spent: Any) -> dict[str, Any]:
    counts: dict[str, Any] = msgspec.structs.asdict(spent)
    return counts


def _room(config: Config, endpoints: dict[str, OpenAIModel | VllmModel]) -> int:
    """How many calls the weak LLM takes at once."""
    model, settings = endpoints[config.models.mweak], config.endpoints[config.models.mweak]
    if isinstance(settings, OpenAIEndpoint):
        return settings.max_concurrent_requests or UNLIMITED_ROOM
    assert isinstance(model, VllmModel)
    return model.capacity


def _uses(endpoints: dict[str, OpenAIModel | VllmModel]) -> list[EndpointUse]:
    return [
        EndpointUse(
            endpoint=name,
            sent=e.meter.sent,
            answered=e.meter.answered,
            faults=dict(e.meter.faults),
            wasted_usd=e.meter.wasted_usd,
        )
        for name, e in endpoints.items()
        if isinstance(e, OpenAIModel)
    ]


def _secrets(config: Config) -> list[str]:
    """The values that must never be shown: API keys and header values from the environment."""
    names = []
    for endpoint in config.endpoints.values():
        if isinstance(endpoint, OpenAIEndpoint):
            names += [endpoint.api_key_env or "", *(v[1:] for v in endpoint.headers.values() if v.startswith("$"))]
    return [os.environ.get(name, "") for name in [*names, "OPENAI_API_KEY"] if name]


if __name__ == "__main__":
    # Not above: the commands import this module.
    from weak2wise.commands import main

    main()
