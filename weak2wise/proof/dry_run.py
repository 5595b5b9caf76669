"""What a proof would do, with every file and column looked at. Nothing is asked, trained or written."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.config import Config, HeldOut, TrainSettings, input_of
from weak2wise.dataset import InputRow, at_hand, check_rows, is_hub, naming_setting
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.paths import check_paths
from weak2wise.proof.base_model import weights_of
from weak2wise.proof.claim import EFFECT_SPREAD, FEWEST_QUESTIONS, POWER
from weak2wise.proof.evidence import trained_model
from weak2wise.proof.held_out import read_all, shared_with
from weak2wise.proof.training import plan
from weak2wise.statistics import difference_error, minimum_detectable_effect

_ASSUMED_RATE = 0.5
_STATE_BYTES = 16
"""For each trained parameter: itself, its gradient and both moments, in float32."""
_LOADED_BYTES = 2
"""For each parameter that is not trained: bfloat16."""


def dry_run(config: Config, folder: Path) -> Iterator[str]:
    """Lines that say what is there and what would be done. Blocks.

    Args:
        config: of the run and the proof.
        folder: the run's work_dir, which need not be there yet.

    Raises:
        ConfigError: something is missing or wrong.
    """
    work = WorkDir(folder) if (folder / "manifest.json").exists() else None
    training = None
    if work is None:
        check_paths(config)
        training = at_hand(input_of(config), folder)
        yield _described("input", training, config)
    else:
        totals = work.totals()[0]
        yield f"run: {folder}, {work.state()}; {totals.emitted:,} of {totals.rows:,} questions emitted"
    for number, held in enumerate(config.prove.held_out):
        yield from _held_out(held, config, training, first=number == 0)
    arms, seeds = config.prove.arms, config.prove.seeds
    listed = ", ".join(map(str, range(seeds)))
    yield f"models: {1 + len(arms) * seeds:,} (the untrained one; {', '.join(arms)}, each with training seeds {listed})"
    yield from _training(config, work, training)


def _held_out(held: HeldOut, config: Config, training: Path | None, *, first: bool) -> Iterator[str]:
    """One set of held-out questions."""
    source = Path(held.questions)
    if is_hub(source):
        yield f"held out, {held.called}: {source}; fetched when it is first asked, not looked at now"
        return
    if not source.is_file():
        raise ConfigError(f"{source}: no such file (prove.held_out)")
    yield _described(f"held out, {held.called}", source, config)
    rows = [row for row in read_all(source, config.dataset.columns) if isinstance(row, InputRow)][: held.limit]
    if len(rows) < FEWEST_QUESTIONS:
        raise ConfigError(f"{source}: {len(rows)} held-out questions; expected at least {FEWEST_QUESTIONS}")
    if training is not None and not is_hub(training):
        shared = shared_with(training, config.dataset.columns, rows)
        if shared.same or shared.similar:
            yield (
                f"  {len(shared.same):,} of them are in the input too and are not asked; {len(shared.similar):,} more "
                "share 13 words in a row with a question there (dataset.decontaminate)"
            )
    models = 1 + len(config.prove.arms) * config.prove.seeds
    most = config.prove.max_new_tokens or config.endpoints[config.models.mweak].longest_answer
    answers = len(rows) * held.samples * models
    yield f"  {answers:,} answers of all models, each of at most {most:,} tokens" if most else f"  {answers:,} answers"
    if first:
        error = difference_error(
            questions=len(rows), samples=held.samples, solve_rates=[_ASSUMED_RATE], effect_spread=EFFECT_SPREAD
        )
        yield (
            f"  the claim is about these; it can show {100 * minimum_detectable_effect(error, len(rows)):.1f} points "
            f"with probability {POWER:g}, if half of them are solved at first"
        )


def _described(what: str, source: Path, config: Config) -> str:
    """How many questions a file has; its first line that is none."""
    if is_hub(source):
        return f"{what}: {source}; fetched when the run starts, not looked at now"
    with naming_setting(what):
        check_rows(source, config.dataset.columns)
        read = list(read_all(source, config.dataset.columns))
    bad = [row for row in read if not isinstance(row, InputRow)]
    said = f"{what}: {source}, {len(read) - len(bad):,} questions"
    return said + (f"; {len(bad):,} lines cannot be read, the first: {bad[0].message}" if bad else "")


def _training(config: Config, work: WorkDir | None, training: Path | None) -> Iterator[str]:
    """What is trained: as planned if there are rows, else at most."""
    settings = config.train
    kind = f"LoRA of rank {settings.lora_rank}" if settings.lora_rank else "all weights"
    if work is not None and work.totals()[0].emitted:
        for arm in config.prove.arms:
            planned = plan(work, arm, 0, settings, model=trained_model(config, work))
            yield (
                f"training, {arm}: {kind}, {planned.rows:,} rows ({len(planned.too_long):,} too long), "
                f"{planned.tokens:,} tokens, {planned.steps:,} steps; about {planned.memory_gib:.1f} GiB over all "
                f"devices, {planned.activations_gib:.1f} GiB on each besides, {planned.disk_gib:.1f} GiB of disk"
            )
        return
    rows = 0 if training is None or is_hub(training) else sum(1 for _ in read_all(training, config.dataset.columns))
    steps = settings.max_steps or int(-(-rows // settings.batch_size) * settings.epochs)
    yield f"training: {kind}, at most {rows:,} rows, {steps:,} steps of {settings.batch_size:,} rows"
    yield _memory(Path(config.endpoints[config.models.mweak].model).expanduser(), settings)


def _memory(model: Path, settings: TrainSettings) -> str:
    """How much memory a training takes, by the headers of the model's weights."""
    if not model.is_dir():
        return f"  its memory is known when the model is a folder on this machine; {model} is not"
    parameters = sum(map(_parameters, weights_of(model)))
    if not parameters:
        raise ConfigError(f"{model}: has no weights in safetensors, so they cannot be counted")
    trained = 0 if settings.lora_rank else parameters
    least = (trained * _STATE_BYTES or parameters * _LOADED_BYTES) / 2**30
    beside = "LoRA's own, and activations" if settings.lora_rank else "activations"
    return f"  {parameters / 1e9:,.2f} billion parameters: {least:,.1f} GiB over all devices, and {beside} on each"


def _parameters(weights: Path) -> int:
    """How many numbers a file of safetensors has. Raises ``ConfigError`` if it is none."""
    try:
        with weights.open("rb") as file:
            header = msgspec.json.decode(file.read(int.from_bytes(file.read(8), "little")), type=dict[str, Any])
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, msgspec.DecodeError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise ConfigError(f"{weights}: cannot be read as safetensors: {error}") from None
