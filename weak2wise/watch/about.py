"""What a page says of a run besides its numbers: which one it is, and what to do when it is over."""

import shlex
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weak2wise.ledger.manifest import Manifest
from weak2wise.outputs.provenance import shown
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import models_in, name_of
from weak2wise.watch.board import Board

REPORT = "report.html"


class About(Struct, frozen=True, kw_only=True):
    """Which run it is. ``models``: by role. ``settings``: those of the method that are not long texts, in words."""

    name: str
    folder: str
    config: str | None
    created: str
    models: dict[str, str]
    settings: dict[str, str]
    forked: str | None


class Next(Struct, frozen=True):
    """Something to do: why, and the command."""

    why: str
    command: str


def about(folder: Path, manifest: Manifest, config: Path | None) -> About:
    """Which run a work_dir (an absolute path) holds; ``config``: the file that it was started with, if known."""
    shape = manifest.shape
    return About(
        name=name_of(folder),
        folder=str(folder),
        config=None if config is None else str(config),
        created=manifest.created,
        models={role: public_name(model) for role, model in models_in(shape).items()},
        settings={key: _short(key, value) for key, value in sorted(shape.items()) if key.startswith("params.")},
        forked=manifest.forked.work_dir if manifest.forked else None,
    )


def _short(key: str, value: Any) -> str:
    text = shown(key, value) if not isinstance(value, dict) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else f"{text[:119]}…"


def next_steps(board: Board, known: About) -> list[Next]:
    """What to do with a run that goes on no more; nothing while it does."""
    if board.ending is None:
        return []
    config = _word(known.config) if known.config else "FILE"
    run = Next("go on where it stopped", f"weak2wise run --config {config}")
    folder = _word(known.folder)
    report = Next("write a report: one HTML file", f"weak2wise report {folder}")
    found = []
    if board.ending != "finished" or (board.rows or 0) > board.ended:
        found.append(run)
    elif board.failed:
        found.append(Next("try the failed questions again", f"weak2wise retry-failed --config {config}"))
    if board.emitted:
        found.append(Next("write the training data for a trainer", f"weak2wise export {folder} --out train.jsonl"))
    return [*(step for step in found if step is run), report, *(step for step in found if step is not run)]


def _word(text: str) -> str:
    """A word of a command, as a shell takes it."""
    return shlex.quote(text)
