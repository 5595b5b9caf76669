"""What ``preview``, ``check``, ``compare`` and ``evaluate`` spend: it counts under ``engine.max_cost_usd``.

Without a cap nothing is read, written or locked. With one, what they spend is kept in the work_dir, whose next run
counts it; and they need the work_dir's lock, as two processes cannot keep one cap. Comparisons
and evaluations have journals of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from weak2wise.access import refusal
from weak2wise.config import Config
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint, locked
from weak2wise.ledger.manifest import load_manifest
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.journal import Journal
from weak2wise.outputs.parts_view import JOURNAL, all_extents

FILE = "side_costs.jsonl"
EVALUATIONS = Path("proof", "evaluations")
"""In a work_dir: a folder for each evaluation, with a journal."""
COMPARISON = "compare"
"""The folder of a work_dir's comparison of scorers; its journal is in there."""


class SideCost(Struct, frozen=True):
    """A line of the file: what one command spent, in US dollars."""

    command: str
    cost_usd: float


def side_costs_usd(work_dir: Path) -> float:
    """US dollars that previews, checks, comparisons and evaluations have spent. Blocks.

    Raises:
        ConfigError: that cannot be read.
    """
    path = work_dir / FILE
    others = [
        work_dir / COMPARISON,
        *(journal.parents[1] for journal in work_dir.glob(f"{EVALUATIONS}/*/ledger/journal")),
    ]
    journaled = sum(_journaled_usd(folder) for folder in others)
    try:
        lines = path.read_bytes().splitlines()
        return journaled + sum(msgspec.json.decode(line, type=SideCost).cost_usd for line in lines)
    except FileNotFoundError:
        return journaled
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {refusal(path, error)}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not what preview and check spent ({error}); remove the line, or the file") from None


@contextmanager
def shared_cap(budget: CostBudget, work_dir: Path) -> Iterator[None]:
    """Count under a cap what a work_dir has spent so far, and keep others from spending there meanwhile. Blocks.

    For what keeps a journal of its own (``EVALUATIONS``).

    Raises:
        ConfigError: there is a cap, and the work_dir is in use or cannot be read or written.
    """
    if budget.max_usd is None:
        yield
        return
    with locked(work_dir):
        budget.pay(spent_usd(work_dir))
        yield


@contextmanager
def side_budget(config: Config, command: str) -> Iterator[CostBudget]:
    """The budget of a command that asks a run's endpoints beside the run, and keeps no answers. Blocks.

    Raises:
        ConfigError: there is a cap, and the work_dir is in use or cannot be read or written.
        RunStopped: what was spent cannot be written down.
    """
    budget = CostBudget(config.engine.max_cost_usd)
    if budget.max_usd is None:
        yield budget
        return
    work_dir = Path(config.dataset.work_dir)
    with locked(work_dir):
        budget.pay(spent_usd(work_dir))
        before = budget.spent
        try:
            yield budget
        finally:
            if budget.spent > before:
                _append(work_dir / FILE, SideCost(command, budget.spent - before))


def spent_usd(work_dir: Path) -> float:
    """US dollars of all starts of a work_dir and of its side costs. Blocks. Raises ``ConfigError`` as these do."""
    return side_costs_usd(work_dir) + _journaled_usd(work_dir)


def _journaled_usd(work_dir: Path) -> float:
    """What the runs of the work_dir have paid themselves, in parts or not."""
    manifest = None
    with suppress(ConfigError):  # the run will say so; until then, all counts
        manifest = load_manifest(work_dir / "manifest.json")
    journal = Journal(work_dir / "parts", earlier=all_extents(work_dir)[JOURNAL], **READ_ONLY)
    paid = sum(spent.cost_usd for spent in journal.sums().values())
    return paid - (manifest.shared_usd if manifest else 0.0)


def _append(path: Path, one: SideCost) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(msgspec.json.encode(one) + b"\n")
            file.flush()
            os.fsync(fd)
    except OSError as error:
        raise RunStopped(f"{path}: {error.strerror}", hint=f"{fix_hint(error)}.") from None
