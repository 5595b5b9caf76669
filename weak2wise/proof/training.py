"""Train a model on an arm of a run: the side that prepares, watches and keeps; ``trainer.py`` is the one that trains.

Decisions:

- Training is a process of its own, launched by accelerate: it can be killed at any moment, and weak2wise never imports
  torch. It goes on from its last complete checkpoint.
- A folder of a model is there whole, or not at all: it is made under another name and renamed. Its name ends in the
  digest of all that shapes the weights, so the same command finds it again, and another one never takes it for its own.
- The message that ends a training says who is to blame: the settings (``ConfigError``), the machine (``RunStopped``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from weak2wise.config import TrainSettings
from weak2wise.outputs.work_dir import WorkDir


class Progress(Struct, frozen=True):
    """A training under way: the step that is done, of how many, its loss, and the seconds still to go."""

    step: int
    steps: int
    loss: float
    seconds_left: float


class Planned(Struct, frozen=True, kw_only=True):
    """What a training will do.

    ``tokens``: of the rows that are trained on, prompts included; ``learned``: of their responses alone.
    ``too_long``: the numbers of the input rows that are left out. ``memory_gib``, ``disk_gib``: estimates.
    """

    rows: int
    tokens: int
    learned: int
    longest: int
    too_long: list[int]
    steps: int
    parameters: int
    trained_parameters: int
    memory_gib: float
    disk_gib: float


class Trained(Struct, frozen=True, kw_only=True):
    """A trained model, as ``trained.json`` in its folder says.

    ``losses``: (step, mean loss of a response's token) of every step. ``seconds``: of training, over all starts.
    ``strong``: rows by strong model. ``reused``: it was there already.
    """

    folder: Path
    base: str
    arm: str
    seed: int
    digest: str
    settings: dict[str, Any]
    rows: int
    tokens: int
    too_long: list[int]
    strong: dict[str, int]
    losses: list[tuple[int, float]]
    seconds: float
    reused: bool = False


def plan(work: WorkDir, arm: str, seed: int, settings: TrainSettings, *, model: str | None = None) -> Planned:
    """What ``train`` would do: every file is looked at, nothing is trained. Blocks; raises as ``train``."""
    raise NotImplementedError


def train(
    work: WorkDir,
    arm: str,
    seed: int,
    settings: TrainSettings,
    *,
    model: str | None = None,
    out: Path | None = None,
    accelerate_config: Path | None = None,
    without: frozenset[int] = frozenset(),
    on_progress: Callable[[Planned | Progress], None] = lambda _: None,
) -> Trained:
    """Train a model on an arm, or find that it has been. Blocks; may be killed, and goes on when it is called again.

    Args:
        work: the run.
        arm: one of ``arms.ARMS``.
        seed: of the order of the rows, of new weights, and of the arm ``random``.
        settings: the recipe.
        model: the folder of the model that is trained; left out, the run's weak LLM.
        out: where models are kept; left out, ``proof/models`` in the work_dir.
        accelerate_config: a file for ``accelerate launch --config_file``, for several devices.
        without: input rows that are left out, so that all arms have the same questions.
        on_progress: called with the plan, then after each step.

    Raises:
        ConfigError: the user has to change something: the arm, the settings, the model, a missing package.
        RunStopped: the training stopped and can go on: the disk, the memory, a process that was killed.
        KeyboardInterrupt: the training has been ended, and can go on.
    """
    raise NotImplementedError
