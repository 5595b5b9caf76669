"""The Python API: run the pipeline from a program or a notebook, read what a run has made, and evaluate a model.

run = weak2wise.synthesize("questions.jsonl", config, work_dir="runs/a")
for golden in run.golden(): ...
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import uvloop
from msgspec import structs

from weak2wise.config import Config, Dataset
from weak2wise.dataset.given import Questions, kept_questions
from weak2wise.errors import FORMATS, ConfigError
from weak2wise.ledger.account import Totals
from weak2wise.ledger.manifest import Resume
from weak2wise.ledger.outcomes import Dropped, Failed, columns_of
from weak2wise.outputs.summary import Summary
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof import evaluation as in_evaluation
from weak2wise.proof.evaluated import Evaluated, EvaluateSettings
from weak2wise.run.cancelled import drained_when_cancelled
from weak2wise.run.engine import GRACE_SECONDS, Engine
from weak2wise.run.fork import fork as make_fork
from weak2wise.run.host import Host
from workers.method import step_making
from workers.records import Golden, Scored, Traced

if TYPE_CHECKING:
    import datasets
    import pandas as pd

Table = Literal["golden", "candidates", "scores", "failed", "dropped"]


class Run:
    """The results of a run that is finished, stopped or still running. Its work_dir is read, never written.

    Records are read one by one, so memory use does not grow with the length of the run.

    Args:
        work_dir: the run's work_dir.

    Raises:
        ConfigError: the folder holds no run, or its files are damaged.
    """

    def __init__(self, work_dir: str | Path) -> None:
        self.work_dir = Path(work_dir)
        self._work = WorkDir(self.work_dir)

    @property
    def state(self) -> Literal["running", "finished", "stopped"]:
        """Whether the run is going on, has finished, or was stopped."""
        return self._work.state()

    @property
    def totals(self) -> Totals:
        """How many questions are emitted, dropped, failed and unfinished."""
        return self._work.totals()[0]

    @property
    def summary(self) -> Summary:
        """Totals and use by role over all starts. ``this_start`` is about the last start that finished."""
        return self._work.summary()

    @property
    def settings(self) -> dict[str, Any]:
        """The config keys (dotted) that affect results, with their values; long values as digests."""
        return dict(self._work.manifest.shape)

    def golden(self) -> Iterator[Golden]:
        """The winning trace of each question, cut where the answer is first derived, in input order."""
        return self._work.made(Golden).records()

    def candidates(self) -> Iterator[Traced]:
        """Each question with its traces, in input order."""
        return self._work.made(Traced).records()

    def scores(self) -> Iterator[Scored]:
        """Each question with its traces and, in the same order, their scores, in input order."""
        return self._work.made(Scored).records()

    def failed(self) -> Iterator[Failed]:
        """The rows that failed, in input order, with the step, the kind and the message."""
        return self._work.account.failures()

    def dropped(self) -> Iterator[Dropped]:
        """The rows that the method dropped, in input order, with the reason."""
        return self._work.account.drops()

    def to_pandas(self, table: Table) -> "pd.DataFrame":
        """A table as a ``DataFrame``: one row for each record; for ``candidates`` and ``scores``, for each trace.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError(f"to_pandas needs pandas: {FORMATS}") from None
        return pd.DataFrame.from_records(list(self._rows(table)))

    def to_dataset(self, table: Table) -> "datasets.Dataset":
        """The same table as a ``datasets.Dataset``.

        Raises:
            ConfigError: datasets is not installed.
        """
        try:
            import datasets as ds  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError(f"to_dataset needs datasets: {FORMATS}") from None
        return ds.Dataset.from_list(list(self._rows(table)))

    def _rows(self, table: Table) -> Iterator[dict[str, Any]]:
        """The rows of a table, flat: the question's columns, then those of the trace, or of the failure or drop."""
        match table:
            case "golden":
                yield from self._lines(Golden)
            case "candidates":
                yield from self._lines(Traced)
            case "scores":
                yield from self._lines(Scored)
            case "failed":
                yield from map(columns_of, self.failed())
            case "dropped":
                yield from map(columns_of, self.dropped())
            case _:
                raise ConfigError(f"{table!r}: no such table; there are golden, candidates, scores, failed, dropped")

    def _lines(self, record: type[Any]) -> Iterator[dict[str, Any]]:
        for made in self._work.made(record).records():
            # An output line leaves out an id that is not there; a table has the same columns in each row.
            yield from ({"row": made.row, "id": made.id} | line for line in step_making(record).lines(made))


def open_run(work_dir: str | Path) -> Run:
    """Open the run in a work_dir for reading. Raises ``ConfigError`` if there is none."""
    return Run(work_dir)


def fork(
    work_dir: str | Path,
    other: str | Path,
    config: Config,
    *,
    from_step: int | None = None,
    finetune_out: str | Path | None = None,
) -> Config:
    """Make a new work_dir that shares what a run has paid for, to run it with other settings.

    config = weak2wise.fork("runs/a", "runs/b", changed)
    run = weak2wise.synthesize(None, config)

    Answers are shared, and the finished outcomes of the steps before ``from_step``. The earlier work_dir is only read.

    Args:
        work_dir: a run's.
        other: the new folder.
        config: the settings of the fork. Its paths count for the input only.
        from_step: the number of the first step to do anew; left out, the first that depends on a setting that changed.
        finetune_out: the fork's output file; left out, in the new folder.

    Returns:
        The config with the fork's paths.

    Raises:
        ConfigError: the earlier work_dir or the config is not fit for it, or there is something at ``other``.
    """
    output = None if finetune_out is None else str(finetune_out)
    return make_fork(Path(work_dir), Path(other), config, from_step=from_step, output=output).config


def synthesize(
    questions: str | Path | Questions | None,
    config: Config,
    *,
    work_dir: str | Path | None = None,
    limit: int | None = None,
    resume: Resume = "auto",
) -> Run:
    """Run the pipeline to its end, or resume a run that was stopped.

    Ctrl-C stops the run and raises ``KeyboardInterrupt``; the same call resumes it. Rows that fail are not raised:
    ``Run.failed`` returns them.

    Args:
        questions: a path, an iterable of mappings, a pandas ``DataFrame`` or a ``datasets.Dataset``; with ``None`` the
            file that ``dataset.input_path`` names. Objects are saved in the work_dir.
        config: the settings; they are saved in the work_dir, so that ``weak2wise run --config WORK_DIR/config.yaml``
            also resumes the run.
        work_dir: replaces ``dataset.work_dir``; the training data is also written there if ``finetune_out`` is not set.
        limit: process only the first ``limit`` questions; a later call without it goes on with the others.
        resume: what to do with an earlier run in the work_dir: ``auto`` resumes it if the settings are the same,
            ``force`` resumes it even if they changed, ``never`` starts from the beginning.

    Raises:
        ConfigError: the run cannot start; the message names the key.
        RunStopped: the user must fix something; the ``hint`` says how. Then the same call resumes the run.
        RuntimeError: an event loop is running in this thread; await ``asynthesize`` instead.
    """
    if _loop_is_running():
        raise RuntimeError("an event loop is running in this thread: await weak2wise.asynthesize(…) instead")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asynthesize(questions, config, work_dir=work_dir, limit=limit, resume=resume))


async def asynthesize(
    questions: str | Path | Questions | None,
    config: Config,
    *,
    work_dir: str | Path | None = None,
    host: Host | None = None,
    limit: int | None = None,
    resume: Resume = "auto",
) -> Run:
    """``synthesize`` for use inside a running event loop. Several may run at once, each with its own work_dir.

    When cancelled, it waits for calls in flight (up to ``GRACE_SECONDS``) and stops; the same call resumes the run.
    ``host``: share its endpoints, their limits, its budget and its loaded models with other runs.

    Raises:
        ConfigError, RunStopped: as ``synthesize``.
    """
    placed, given = _placed(questions, config, work_dir)
    engine = Engine(placed, host=host, questions=given, limit=limit, resume=resume)
    await drained_when_cancelled(engine.run(), engine.drain, GRACE_SECONDS)
    return await asyncio.to_thread(Run, engine.work_dir)


def evaluate(
    model: str | Path,
    questions: str | Path,
    config: Config | None = None,
    *,
    work_dir: str | Path | None = None,
    settings: EvaluateSettings | None = None,
) -> Evaluated:
    """Evaluate a model on held-out questions, or go on with an evaluation that was stopped.

    Ctrl-C raises ``KeyboardInterrupt``; the same call goes on. One that has ended is read, not made again.

    Args:
        model: a folder of weights, for the embedded engine; or the name of an endpoint of ``config``.
        questions: a file of held-out questions, or ``hf:owner/name:config:split``.
        config: its judge, prompts, columns and the weak LLM's settings are used. Held-out questions that are in its
            ``dataset.input_path`` too are left out.
        work_dir: replaces ``dataset.work_dir``; the evaluation is kept in its ``proof/evaluations``.
        settings: how many samples, and how they are drawn.

    Raises:
        ConfigError: it cannot start; the message names the key.
        RunStopped: the user must fix something, or no question could be answered. Then the same call goes on.
        RuntimeError: an event loop is running in this thread; await ``aevaluate`` instead.
    """
    if _loop_is_running():
        raise RuntimeError("an event loop is running in this thread: await weak2wise.aevaluate(…) instead")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(aevaluate(model, questions, config, work_dir=work_dir, settings=settings))


async def aevaluate(
    model: str | Path,
    questions: str | Path,
    config: Config | None = None,
    *,
    work_dir: str | Path | None = None,
    settings: EvaluateSettings | None = None,
) -> Evaluated:
    """``evaluate`` for use inside a running event loop. Raises ``ConfigError`` and ``RunStopped`` as it does."""
    place = work_dir or (config.dataset if config else Dataset()).work_dir
    return await in_evaluation.evaluate(model, questions, settings, work_dir=place, config=config)


def _placed(
    questions: str | Path | Questions | None, config: Config, work_dir: str | Path | None
) -> tuple[Config, Questions | None]:
    """The config with the paths of this call, and the questions if they are objects."""
    dataset = config.dataset
    if work_dir is not None:
        dataset = structs.replace(dataset, work_dir=str(work_dir))
    if questions is None:
        return structs.replace(config, dataset=dataset), None
    given = None if isinstance(questions, str | Path) else questions
    source = questions if given is None else kept_questions(Path(dataset.work_dir))
    return structs.replace(config, dataset=structs.replace(dataset, input_path=str(source))), given


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
