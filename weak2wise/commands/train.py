"""``train``: train the weak LLM on an arm of a run."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from weak2wise.commands.say import INTERRUPTED, command_line, report_errors, say
from weak2wise.commands.where import kept_config, work_dir_of
from weak2wise.config import load_train
from weak2wise.errors import RunStopped
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import WINNERS, recut
from weak2wise.proof.messages import Planned, Progress
from weak2wise.proof.trained import Trained
from weak2wise.proof.training import plan, train as train_on

_SHOW_SECONDS = 30.0
_MOST_NAMED = 20


@report_errors
def train(
    work_dir: Path | None = None,
    *,
    arm: str = WINNERS,
    seed: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=0, lt=2**31))] = 1,
    model: str | None = None,
    out: Path | None = None,
    accelerate_config: Path | None = None,
    dry_run: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    config: Path | None = None,
) -> int:
    """Train the weak LLM on an arm of a run: which trace each question gives. Needs the extra "train".

    It may be stopped at any time: the same command goes on from the last checkpoint. A model that is there already is
    not trained again.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        arm: winners; emitted: the run's own training data as they are; or a scorer by name (random, first, shortest,
            longest, …), of which one that asks the weak LLM needs the scores of weak2wise compare.
        seed: Of the order of the rows, of new weights, and of the arm random.
        model: The folder, or the name on the Hub, of the model to train (default: the run's weak LLM).
        out: The folder in which models are kept (default: proof/models in the work_dir).
        accelerate_config: A file for accelerate launch, for several GPUs.
        dry_run: Look at every row and file, print counts and estimates, and train nothing.
        set_: Settings of the section train, as in --set train.epochs=3.
        config: The config file with the section train (default: the one kept in WORK_DIR, or without
            a WORK_DIR config.yaml).
    """
    if work_dir is None:
        config = config or Path("config.yaml")
        work_dir = work_dir_of(None, config)
    settings = load_train(config or kept_config(work_dir), set_ or ())
    work = WorkDir(work_dir)
    if arm == WINNERS and (others := recut(work)):
        say(
            f"{others:,} winners were cut by a model; here the rule cuts, as in every arm (--arm emitted: as they are)."
        )
    where: dict[str, Any] = {"model": model, "out": out, "accelerate_config": accelerate_config}
    try:
        with _interruptible():
            if dry_run:
                _show_plan(plan(work, arm, seed, settings, **where))
                return 0
            trained = train_on(work, arm, seed, settings, **where, on_progress=_Shown())
    except KeyboardInterrupt:
        say(f"Interrupted. Go on from the last checkpoint with: {command_line()}")
        return INTERRUPTED
    except RunStopped as error:
        say(f"{error}. {error.hint.rstrip('.')}.")
        say(f"Go on from the last checkpoint with: {command_line()}")
        return 3
    _show_result(trained)
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless it was ignored from the start, are for this time what Ctrl-C is."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Shown:
    """Prints the plan, then a step from time to time."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, said: Planned | Progress) -> None:
        if isinstance(said, Planned):
            _show_rows(said)
            if said.resumed:
                say(f"Going on after step {said.resumed:,} of {said.steps:,}.")
            return
        now = time.monotonic()
        if now - self._last >= _SHOW_SECONDS or said.step == said.steps:
            self._last = now
            left = f", about {_duration(said.seconds_left)} left" if said.step < said.steps else ""
            say(f"Step {said.step:,} of {said.steps:,}: loss {said.loss:.4f}{left}")


def _show_rows(planned: Planned) -> None:
    how = "with the chat template" if planned.chat else "without a chat template"
    say(f"{planned.rows:,} rows, {planned.tokens:,} tokens {how}, {planned.learned:,} of them learned")
    if planned.too_long:
        named = ", ".join(map(str, planned.too_long[:_MOST_NAMED]))
        more = len(planned.too_long) - _MOST_NAMED
        say(
            f"Warning: {len(planned.too_long):,} rows have more than {planned.limit:,} tokens and are left out: {named}"
            + (f" and {more:,} more" if more > 0 else "")
        )


def _show_plan(planned: Planned) -> None:
    _show_rows(planned)
    share = f"{planned.trained_parameters:,} weights are trained" + (
        "" if planned.trained_parameters == planned.parameters else f", beside {planned.parameters:,} that are not"
    )
    say(f"{planned.steps:,} steps; the longest row has {planned.longest:,} tokens; {share}")
    say(
        f"Estimates: memory {planned.memory_gib:.1f} GiB for weights, gradients and optimizer (FSDP divides it), and "
        f"{planned.activations_gib:.1f} GiB on each device for its longest batch; disk {planned.disk_gib:.1f} GiB"
    )


def _show_result(trained: Trained) -> None:
    if trained.reused:
        say(f"{trained.folder}: is there already, trained by the same rows, settings and model")
        return
    first, last = trained.losses[0][1], trained.losses[-1][1]
    say(
        f"{trained.folder}: {trained.rows:,} rows, {trained.steps:,} steps in {_duration(trained.seconds)}, loss "
        f"{first:.4f} to {last:.4f}, peak memory {trained.peak_gib:.1f} GiB"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
