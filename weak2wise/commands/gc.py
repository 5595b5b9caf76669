"""``gc``: delete what a work_dir can do without, after saying how much that is and what it was good for."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from weak2wise.commands.say import report_errors, say
from weak2wise.commands.where import work_dir_of
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import locked
from weak2wise.run.garbage import Item, Kind, delete, garbage
from weak2wise.run.side_costs import COMPARISON

_WHAT: dict[Kind, tuple[str, str]] = {
    "answers": (
        "texts of answers to questions that are finished",
        "compare, a fork that does a step anew, and repair of a damaged outcome ask for them again, and pay",
    ),
    "earlier": ("runs that --resume never has set aside", "they cannot be put back"),
    "logs": ("older log files", "their events are gone; run.log stays"),
    "temporary": ("unfinished files of writers that were killed", "nothing is lost"),
}


@report_errors
def gc(
    work_dir: Path | None = None, *, config: Path = Path("config.yaml"), dry_run: bool = False, yes: bool = False
) -> int:
    """Delete what a work_dir can do without; first it says how much, and what will no longer be possible.

    A run goes on after it as before, and pays nothing again. status, report, export, train and evaluate are as before.
    Not while the run goes on.

    Args:
        work_dir: The run's dataset.work_dir (default: the one in the --config file).
        config: The config file that names the work_dir, if it is not given.
        dry_run: Only say what would be deleted.
        yes: Do not ask.
    """
    folder = work_dir_of(work_dir, config)
    if not (folder / "manifest.json").exists():
        raise ConfigError(f"{folder}: holds no run (no manifest.json); give the dataset.work_dir of a run")
    with ExitStack() as locks:
        locks.enter_context(locked(folder))
        if (comparison := folder / COMPARISON).is_dir():  # it reads the answers
            locks.enter_context(locked(comparison))
        found = garbage(folder)
        if not found:
            say(f"{folder}: nothing to delete.")
            return 0
        _show(found)
        if dry_run:
            return 0
        if not yes and not _agreed():
            say("Nothing was deleted.")
            return 0
        delete(folder, found)
    say(f"Freed {_bytes(sum(item.size for item in found if not item.shared))}.")
    return 0


def _show(found: Sequence[Item]) -> None:
    for kind, (what, effect) in _WHAT.items():
        items = [item for item in found if item.kind == kind]
        if items:
            count = sum(item.count for item in items)
            say(f"{what}: {count:,}, {_bytes(sum(item.size for item in items))}")
            say(f"    then: {effect}")
    if shared := sum(item.size for item in found if item.shared):
        say(f"A fork has {_bytes(shared)} of it too; the disk has that room once both are cleaned.")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask at; pass --yes to delete this, or --dry-run to look only")
    say("Delete this? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"
