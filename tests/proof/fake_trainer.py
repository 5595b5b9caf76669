"""The real trainer process around a training that is none: each step is a short sleep. ``python -m … SPEC``.

``behaviour.json`` in the base model's folder says how many steps there are, and what happens at one of them.
"""

import json
import os
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import msgspec

from weak2wise.errors import ConfigError
from weak2wise.ledger.files import write_atomic
from weak2wise.proof import trainer
from weak2wise.proof.checkpoints import last_complete, mark, sync_files
from weak2wise.proof.messages import Example, Finished, Message, Planned, Progress, Spec

EVERY = 2
"""Steps from one checkpoint to the next."""


def fit(spec: Spec, say: Callable[[Message], None]) -> None:
    behaviour = json.loads((spec.base / "behaviour.json").read_text())
    steps, at = behaviour["steps"], {int(step): what for step, what in behaviour.get("at", {}).items()}
    rows = [msgspec.json.decode(line, type=Example) for line in spec.rows.read_bytes().splitlines()]
    start = None if spec.dry_run else last_complete(spec.folder / "checkpoints")
    before = start.step if start else 0
    planned = Planned(
        rows=len(rows),
        tokens=sum(len(row.prompt) + len(row.response) for row in rows),
        learned=sum(len(row.response) for row in rows),
        longest=max(len(row.prompt) + len(row.response) for row in rows),
        limit=2048,
        too_long=[],
        chat=True,
        steps=steps,
        parameters=1,
        trained_parameters=1,
        memory_gib=0.1,
        activations_gib=0.1,
        disk_gib=0.1,
        resumed=before,
    )
    say(planned)
    if spec.dry_run:
        return
    print("a library prints on standard output")
    losses = json.loads((start.folder / "state").read_text()) if start else []
    for step in range(before + 1, steps + 1):
        time.sleep(behaviour.get("seconds", 0.01))
        checkpoint = spec.folder / "checkpoints" / f"checkpoint-{step}"
        what = at.get(step) if not (spec.folder / "happened").exists() else None
        if what:
            (spec.folder / "happened").touch()
            _happen(what, checkpoint)
        losses.append((step, 1 / step))
        say(Progress(step=step, steps=steps, loss=1 / step, seconds_left=float(steps - step)))
        if step % EVERY == 0:
            checkpoint.mkdir(parents=True)
            (checkpoint / "state").write_text(json.dumps(losses))
            mark(checkpoint, float(step))
    model = spec.folder / "model"
    model.mkdir(exist_ok=True)
    (model / "model.safetensors").write_text(json.dumps(losses))
    finished = Finished(
        planned=planned,
        losses=losses,
        seconds=float(steps),
        dtype="bfloat16",
        peak_gib=0.1,
        versions={},
        files=sync_files(model),
    )
    write_atomic(spec.folder / "finished.json", [msgspec.json.encode(finished)])
    say(finished)


def _happen(what: str, checkpoint: Path) -> None:
    match what:
        case "torn":
            checkpoint.mkdir(parents=True)
            (checkpoint / "state").write_text("[[1,")
            os.kill(os.getpid(), signal.SIGKILL)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "long":
            time.sleep(60)
        case "refused":
            raise ConfigError("the training has diverged. Lower train.learning_rate")
        case "no room":
            raise OSError(28, os.strerror(28), str(checkpoint))
        case "no memory":
            raise MemoryError("out of memory")
        case _:
            raise KeyError(what)


if __name__ == "__main__":
    fitting = types.ModuleType("weak2wise.proof.fitting")
    fitting.fit = fit  # type: ignore[attr-defined]
    sys.modules["weak2wise.proof.fitting"] = fitting
    trainer.main()
