"""Train a model on an arm of a run: the side that prepares, watches and keeps. ``trainer.py`` is the one that trains.

Decisions:

- Training is a process of its own, launched by accelerate: it can be killed at any moment, and weak2wise never imports
  torch for it. It goes on from its last complete checkpoint.
- The folder of a model is there whole, or not at all: it is made under another name and renamed. Its name ends in the
  digest of all that shapes the weights, so the same command finds it again, and no other one takes it for its own.
- The message that ends a training says who has to act: the user (``ConfigError``), or the machine is short of something
  (``RunStopped``). Anything else that ends the trainer is in its log.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from weak2wise.config import TrainSettings
from weak2wise.errors import TRAINING, ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint, holder, locked, make_private, sync_folder, write_atomic
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import arm_rows
from weak2wise.proof.base_model import BaseModel, base_model
from weak2wise.proof.launch import OnProgress, run_trainer
from weak2wise.proof.messages import Finished, Planned, Spec
from weak2wise.proof.trained import KEPT, Trained, read_trained

_PACKAGES = ("trl", "peft", "accelerate", "transformers", "datasets", "torch")


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
    on_progress: OnProgress = lambda _: None,
) -> Trained:
    """Train a model on an arm, or find that it has been. Blocks; may be killed, and goes on when it is called again.

    Args:
        work: the run.
        arm: one of ``arms.ARMS``.
        seed: of the order of the rows, of new weights, and of the arm ``random``.
        settings: the recipe.
        model: the folder of the model that is trained; left out, the run's weak LLM.
        out: the folder in which models are kept; left out, ``proof/models`` in the work_dir.
        accelerate_config: a file for ``accelerate launch --config_file``, for several devices.
        without: input rows that are left out, so that all arms have the same questions.
        on_progress: called with the plan, then after each step.

    Raises:
        ConfigError: the user has to change something: the arm, the settings, the model, a missing package.
        RunStopped: the training stopped and can go on: no room, no memory, the trainer was killed.
        KeyboardInterrupt: the trainer was ended, and can go on.
    """
    models = out or work.folder / "proof" / "models"
    with _prepared(work, arm, seed, settings, model=model, models=models, without=without) as prepared:
        if (there := read_trained(prepared.folder)) is not None:
            shutil.rmtree(prepared.part)
            return structs.replace(there, reused=True)
        kept, made = prepared.part / "finished.json", prepared.part / "model"
        if not (kept.exists() and made.exists()):
            run_trainer(prepared.spec, settings, accelerate_config, on_progress)
        finished = msgspec.json.decode(kept.read_bytes(), type=Finished)
        planned = finished.planned
        trained = Trained(
            base=prepared.base.name,
            arm=arm,
            seed=seed,
            digest=prepared.digest,
            settings=settings,
            rows=planned.rows,
            tokens=planned.tokens,
            too_long=planned.too_long,
            strong=prepared.strong,
            steps=planned.steps,
            losses=finished.losses,
            seconds=finished.seconds,
            dtype=finished.dtype,
            peak_gib=finished.peak_gib,
            versions=finished.versions,
            files=finished.files,
        )
        said = {key: value for key, value in structs.asdict(trained).items() if key not in ("folder", "reused")}
        write_atomic(made / KEPT, [msgspec.json.format(msgspec.json.encode(said), indent=1), b"\n"])
        made.rename(prepared.folder)
        sync_folder(models)
        shutil.rmtree(prepared.part)
    return structs.replace(trained, folder=prepared.folder)


def plan(
    work: WorkDir,
    arm: str,
    seed: int,
    settings: TrainSettings,
    *,
    model: str | None = None,
    out: Path | None = None,
    accelerate_config: Path | None = None,
    without: frozenset[int] = frozenset(),
) -> Planned:
    """What ``train`` would do: all rows and files are looked at, nothing is trained. Blocks; raises as ``train``."""
    models = out or work.folder / "proof" / "models"
    with _prepared(work, arm, seed, settings, model=model, models=models, without=without) as prepared:
        found: list[Planned] = []
        spec = structs.replace(prepared.spec, dry_run=True)
        run_trainer(
            spec, settings, accelerate_config, lambda said: found.append(said) if isinstance(said, Planned) else None
        )
        return found[-1]


class _Prepared(Struct, frozen=True):
    """A training, ready to begin: the folder that the model gets, and the one in which it is made."""

    base: BaseModel
    digest: str
    strong: dict[str, int]
    spec: Spec
    folder: Path
    part: Path


@contextmanager
def _prepared(
    work: WorkDir,
    arm: str,
    seed: int,
    settings: TrainSettings,
    *,
    model: str | None,
    models: Path,
    without: frozenset[int],
) -> Iterator[_Prepared]:
    """Find the model, write the rows of the arm, and hold the folder in which the model is made."""
    if missing := [package for package in _PACKAGES if find_spec(package) is None]:
        raise ConfigError(f"train needs {', '.join(missing)}: {TRAINING}")
    base = base_model(work, model)
    with _writing(models):
        make_private(models)
        rows = models / f".{arm}-seed{seed}.{os.getpid()}.rows.jsonl"
        try:
            content, strong = _write_rows(rows, work, arm, seed, without)
            shaping = [content, settings.shape(), seed, base.digest, base.bare]
            digest = hashlib.sha256(msgspec.json.encode(shaping, order="sorted")).hexdigest()[:12]
            folder = models / f"{arm}-seed{seed}-{digest}"
            part = models / f".{folder.name}.part"
            with _held(part):
                rows.replace(part / "rows.jsonl")
                spec = Spec(
                    base=base.folder,
                    bare=base.bare,
                    trust_remote_code=base.trust_remote_code,
                    rows=part / "rows.jsonl",
                    folder=part,
                    seed=seed,
                    settings=settings,
                )
                yield _Prepared(base, digest, strong, spec, folder, part)
                with suppress(OSError):
                    _remove_empty(part)
        finally:
            rows.unlink(missing_ok=True)


def _write_rows(path: Path, work: WorkDir, arm: str, seed: int, without: frozenset[int]) -> tuple[str, dict[str, int]]:
    """Write an arm's rows; returns the digest of what is trained on, and the rows by strong model."""
    sha = hashlib.sha256()
    strong: Counter[str] = Counter()
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for row in arm_rows(work, arm, seed):
            if row.row not in without:
                file.write(encode(row) + b"\n")
                sha.update(encode([row.prompt, row.response]))
                strong[row.m_strong] += 1
    if not strong:
        raise ConfigError(
            f"{work.folder}: has no golden trace to train on; weak2wise status {work.folder} says how far the run is"
        )
    return sha.hexdigest(), dict(strong)


@contextmanager
def _held(part: Path) -> Iterator[None]:
    """Hold the folder in which a model is made. Raises ``ConfigError`` if another process does."""
    if (process := holder(part)) is not None:
        raise ConfigError(f"{part}: process {process or 'unknown'} trains this model already; wait for it")
    with locked(part):
        yield


@contextmanager
def _writing(models: Path) -> Iterator[None]:
    """Name the folder that cannot be written. Raises ``RunStopped``."""
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"{error.filename or models}: {error.strerror or error}", hint=f"{fix_hint(error)}, or choose another --out"
        ) from None


def _remove_empty(part: Path) -> None:
    """Remove the folder again if nothing of a training is in it."""
    if not {path.name for path in part.iterdir()} - {"rows.jsonl", "lock", "trainer.lock", "trainer.log", "spec.json"}:
        shutil.rmtree(part)
