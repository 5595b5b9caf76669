"""The training itself, by TRL, PEFT and transformers; only imported by the process that trains.

The data are tokens already (``encoding.py``), so TRL renders, cuts and masks nothing. Only what it cannot know is added
around it: which checkpoint is complete, and what the folder of a model needs so that vLLM reads it like the base model:
its weights in the base model's type under the same names, and every other file as it is there.
"""

import os
import platform
import resource
import shutil
import time
from collections.abc import Callable
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import accelerate
import msgspec
import numpy as np
import peft
import pyarrow as pa
import torch
import transformers
import trl
from accelerate import PartialState
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import write_atomic
from weak2wise.proof.base_model import files_of
from weak2wise.proof.checkpoints import Checkpoint, last_complete, mark, sync_files
from weak2wise.proof.encoding import Encoded
from weak2wise.proof.messages import Finished, Message, Planned, Progress, Spec
from weak2wise.proof.model import TrainedModel, has_gpu

GIB = 2**30
_NOT_LEARNED = -100
"""The label of a token that the loss leaves out, as torch has it."""
_BRINGS_TRAINING_STATE = 16
"""Bytes for each trained weight: itself, its gradient and two moments of AdamW, in float32."""

Say = Callable[[Message], None]


def fit(spec: Spec, say: Say) -> None:
    """Train, and write the model and ``finished.json``; on a dry run only say what would be done.

    Raises:
        ConfigError: the model, its rows and the settings do not go together.
        RunStopped: there is no room on the disk.
    """
    torch.set_num_threads(spec.settings.threads or len(os.sched_getaffinity(0)))
    base = TrainedModel(spec)
    examples, too_long = base.encoded()
    checkpoints = spec.folder / "checkpoints"
    start = None if spec.dry_run else _start(checkpoints)
    planned = _planned(base, examples, too_long, start)
    say(planned)
    if spec.dry_run:
        return
    if start is None:
        _check_disk(spec.folder, planned.disk_gib)
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if base.bfloat16 else "no"  # whatever a file of accelerate says
    trainer = SFTTrainer(
        model=base.load(),
        args=_arguments(base, planned.steps, str(checkpoints)),
        train_dataset=_dataset(examples),
        processing_class=base.tokenizer,
        peft_config=base.adapters,
    )
    watch = _Watch(planned.steps, start, say)
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=start and str(start.folder))
    _write_model(trainer, base)
    if trainer.is_world_process_zero():
        losses = [(line["step"], line["loss"]) for line in trainer.state.log_history if "loss" in line]
        finished = Finished(
            planned=planned,
            losses=losses,
            seconds=watch.seconds,
            dtype=str(base.dtype).removeprefix("torch."),
            peak_gib=_peak(),
            versions=_versions(),
            files=sync_files(spec.folder / "model"),
        )
        write_atomic(spec.folder / "finished.json", [msgspec.json.encode(finished)])
        say(finished)


def _planned(base: TrainedModel, examples: list[Encoded], too_long: list[int], start: Checkpoint | None) -> Planned:
    settings = base.spec.settings
    parameters, trained = base.parameters()
    longest = max(len(example.tokens) for example in examples)
    state = trained * _BRINGS_TRAINING_STATE + (parameters * base.load_dtype.itemsize if base.adapters else 0)
    # Three checkpoints, as one is written before the oldest is removed; then the trained weights and the model.
    disk = 3 * trained * 12 + trained * 4 + parameters * base.dtype.itemsize
    return Planned(
        rows=len(examples),
        tokens=sum(len(example.tokens) for example in examples),
        learned=sum(len(example.tokens) - example.prompt for example in examples),
        longest=longest,
        limit=base.limit,
        too_long=too_long,
        chat=base.chat,
        steps=settings.max_steps or ceil(settings.epochs * ceil(len(examples) / settings.batch_size)),
        parameters=parameters,
        trained_parameters=trained,
        memory_gib=state / GIB,
        activations_gib=_activations(base, longest) / GIB,
        disk_gib=disk / GIB,
        resumed=start.step if start else 0,
    )


def _activations(base: TrainedModel, longest: int) -> float:
    """About how many bytes one device keeps for the backward pass of its longest batch."""
    text, item = base.text, 2 if base.bfloat16 else 4
    tokens = base.spec.settings.device_batch_size * longest
    layer = 14 * text.hidden_size + 4 * getattr(text, "intermediate_size", 4 * text.hidden_size)
    layers = text.num_hidden_layers
    kept = layers * text.hidden_size + layer if _recomputes() else layers * layer
    return float(tokens * item * kept)


def _arguments(base: TrainedModel, steps: int, folder: str) -> SFTConfig:
    spec, settings, world = base.spec, base.spec.settings, PartialState().num_processes
    at_once = settings.device_batch_size * world
    if settings.batch_size % at_once:
        raise ConfigError(
            f"train.batch_size: expected a multiple of {at_once}, which is train.device_batch_size on {world} devices, "
            f"found {settings.batch_size}"
        )
    return SFTConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=settings.device_batch_size,
        gradient_accumulation_steps=settings.batch_size // at_once,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=ceil(0.05 * steps),
        weight_decay=1e-4,
        adam_beta2=0.95,
        max_length=None,
        bf16=base.bfloat16,
        use_cpu=not has_gpu(),
        gradient_checkpointing=_recomputes(),
        seed=spec.seed,
        data_seed=spec.seed,
        dataloader_pin_memory=has_gpu(),
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        save_steps=settings.save_steps or ceil(steps / 10),
        save_total_limit=2,
    )


def _dataset(examples: list[Encoded]) -> Dataset:
    tokens = [np.asarray(example.tokens) for example in examples]
    labels = [
        np.concatenate([np.full(example.prompt, _NOT_LEARNED, ids.dtype), ids[example.prompt :]])
        for example, ids in zip(examples, tokens, strict=True)
    ]
    return Dataset(pa.table({"input_ids": pa.array(tokens), "labels": pa.array(labels)}))


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Reports each step, marks complete checkpoints, and ends a training that has diverged."""

    def __init__(self, steps: int, start: Checkpoint | None, say: Say) -> None:
        self._steps = steps
        self._first = start.step if start else 0
        self._before = start.seconds if start else 0.0
        self._say = say
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all starts."""
        return self._before + time.monotonic() - self._began

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The first step begins."""
        self._began = time.monotonic()

    def on_log(self, _: Any, state: Any, __: Any, logs: dict[str, Any], **___: Any) -> None:
        """A step is done. Raises ``ConfigError`` if its loss is not a number."""
        if "loss" not in logs:
            return
        if not isfinite(logs["loss"]):
            raise ConfigError(
                f"the loss of step {state.global_step} is {logs['loss']}: the training has diverged. Lower "
                "train.learning_rate"
            )
        each = (time.monotonic() - self._began) / max(1, state.global_step - self._first)
        left = (self._steps - state.global_step) * each
        self._say(Progress(step=state.global_step, steps=self._steps, loss=logs["loss"], seconds_left=left))

    def on_save(self, args: Any, state: Any, _: Any, **__: Any) -> None:
        """A checkpoint is written, by this process; it is complete when all have written theirs."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            mark(Path(args.output_dir) / f"checkpoint-{state.global_step}", self.seconds)


def _start(checkpoints: Path) -> Checkpoint | None:
    """The checkpoint to go on from, the same for all processes."""
    with PartialState().local_main_process_first():
        return last_complete(checkpoints)


def _write_model(trainer: Any, base: TrainedModel) -> None:
    """Write the folder ``model``: the trained weights, adapters merged, and the base model's other files."""
    trained, folder = base.spec.folder / "trained", base.spec.folder / "model"
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(trained))
    trainer.accelerator.wait_for_everyone()
    if not trainer.is_world_process_zero():
        return
    shutil.rmtree(folder, ignore_errors=True)
    base.trained(trained).save_pretrained(folder)
    for path in files_of(folder):
        if not _of_weights(path):
            path.unlink()
    for path in files_of(base.spec.base):
        if not _of_weights(path):
            shutil.copyfile(path, folder / path.name)
    if base.adapters:
        shutil.copytree(trained, folder / "adapter", ignore=shutil.ignore_patterns("*.bin", "README.md", "token*"))
    shutil.rmtree(trained)


def _of_weights(path: Path) -> bool:
    return path.name.endswith((".safetensors", ".bin", ".index.json"))


def _check_disk(folder: Path, gib: float) -> None:
    free = shutil.disk_usage(folder).free / GIB
    if free < gib:
        raise RunStopped(
            f"{folder}: the training needs about {gib:.1f} GiB for checkpoints and the model; {free:.1f} GiB are free",
            hint="Make room, or choose another folder with --out",
        )


def _recomputes() -> bool:
    """Whether activations are computed again for the backward pass, unless FSDP does that by itself."""
    return has_gpu() and os.environ.get("FSDP_ACTIVATION_CHECKPOINTING", "").lower() != "true"


def _peak() -> float:
    used = torch.cuda.max_memory_allocated() if has_gpu() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return float(used / GIB)


def _versions() -> dict[str, str]:
    modules = (accelerate, peft, torch, transformers, trl)
    return {"python": platform.python_version()} | {module.__name__: str(module.__version__) for module in modules}
