"""A read-only view of a work_dir, of a run that is running, stopped or finished.

Nothing in it is written, repaired or locked. The ledgers are read from the last stage to the first. A running engine
may add lines in the meantime; in this order a row is never seen in a later stage but not in an earlier one.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import structs

from weak2wise.config import Params
from weak2wise.dataset import at_hand, count_rows
from weak2wise.errors import ConfigError
from weak2wise.ledger.account import INPUT, Account, Totals
from weak2wise.ledger.files import holder
from weak2wise.ledger.manifest import load_manifest
from weak2wise.ledger.outcomes import Ledger, RowStatus
from weak2wise.ledger.shards import READ_ONLY
from weak2wise.llm.journal import Journal
from weak2wise.outputs.history import read_history
from weak2wise.outputs.parts_view import JOURNAL, all_extents
from weak2wise.outputs.summary import RoleUse, Summary
from workers.method import METHOD, step_making, step_named
from workers.scorers import Scorer, describer

T = TypeVar("T")


def model_in(shape: Mapping[str, Any], endpoint: str) -> str:
    """The model of an endpoint in a result shape; the endpoint's name if it is not in there."""
    return str(shape.get(f"model_endpoints.{endpoint}.model", endpoint))


def models_in(shape: Mapping[str, Any]) -> dict[str, str]:
    """The model of each role in a result shape; a strong model's role is ``strong/`` and the name of its endpoint."""
    names = {"weak": shape["models.mweak"]}
    names |= {f"strong/{name}": name for name in shape["models.mstrong"]}
    names |= {role: shape[f"models.{role}"] for role in ("judge", "truncation")}
    return {role: model_in(shape, name) for role, name in names.items() if name}


def name_of(folder: Path) -> str:
    """The last two parts of a work_dir's path: its own name is often the same for all runs."""
    return "/".join(folder.parts[-2:])


class WorkDir:
    """All files of one run, for reading.

    Raises:
        ConfigError: there is no run in the folder, or its files are damaged.
        DiskError: the files cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = load_manifest(folder / "manifest.json")
        if manifest is None:
            raise ConfigError(f"{folder}: holds no run (no manifest.json); give the dataset.work_dir of a run")
        self.manifest = manifest
        in_parts = manifest.partition is not None
        self._earlier = all_extents(folder) if in_parts else {}
        self._ledgers = folder / ("parts" if in_parts else "ledger")
        self.steps: dict[str, Ledger[Any]] = {step.name: self.ledger(step.name, step.makes) for step in METHOD}
        for ledger in reversed(self.steps.values()):
            ledger.look()
        self.intake = self.ledger(INPUT, object)
        self.intake.look()
        self.account = Account(self.intake, self.steps)
        self.journal = Journal(self._ledgers, earlier=self._earlier.get(JOURNAL, ()), **READ_ONLY)
        self.history = read_history(folder / "run.log")

    def ledger(self, name: str, kind: type[Any]) -> Ledger[Any]:
        """The ledger of one stage, with records decoded as ``kind``. Call its ``look`` before use."""
        return Ledger(name, self._ledgers, kind, earlier=self._earlier.get(name, ()), **READ_ONLY)

    def made(self, record: type[T]) -> Ledger[T]:
        """The ledger of the step that makes these records."""
        return self.steps[step_making(record).name]

    @property
    def scorer_name(self) -> str:
        """The run's ``params.scorer``."""
        return str(self.manifest.shape.get("params.scorer", "stepmask"))

    @property
    def response(self) -> str:
        """The run's ``params.response``."""
        return str(self.manifest.shape.get("params.response", Params().response))

    @cached_property
    def scorer(self) -> type[Scorer]:
        """The class that describes the run's scores, also if the run's own scorer cannot be loaded."""
        return describer(self.scorer_name)

    @property
    def models(self) -> dict[str, str]:
        """The model of each role. A strong model's role is ``strong/`` and the name of its endpoint."""
        return models_in(self._shape_here)

    def model_of(self, endpoint: str) -> str:
        """The model of an endpoint; the endpoint's name if it is no longer in the settings (``--resume force``)."""
        return model_in(self._shape_here, endpoint)

    @property
    def _shape_here(self) -> dict[str, Any]:
        """The settings with the folders of models where the last start has found them."""
        return self.manifest.shape | {key: folder.path for key, folder in self.manifest.begun.folders.items()}

    @property
    def strong(self) -> list[str]:
        """The strong models' endpoint names, in the config's order."""
        return list(self.manifest.shape["models.mstrong"])

    @property
    def through(self) -> list[str]:
        """The names of the steps that the last start was to run; all if the log does not say."""
        return [step for step in self.steps if step in self.history.steps] or list(self.steps)

    @property
    def output(self) -> str:
        """The file that the last step of the last start writes."""
        step = step_named(self.through[-1])
        own = str(self.folder / step.file)
        return self.history.output or own if step is METHOD[-1] else own

    def input_path(self) -> Path:
        """The input of the run's last start.

        Raises:
            ConfigError: it no longer exists, or it has changed.
        """
        path = at_hand(Path(self.history.input or "?"), self.folder)
        if not path.is_file():
            raise ConfigError(f"{path}: the run's input no longer exists; put it back")
        if path.stat().st_size != self.manifest.input.size:
            raise ConfigError(f"{path}: the run's input has changed since; put it back")
        return path

    def rows_known(self) -> int | None:
        """How many rows the input has; ``None`` if the log does not say and the file no longer exists."""
        if self.history.rows is not None:
            return self.history.rows
        try:
            return count_rows(self.input_path())
        except ConfigError:
            return None

    def totals(self) -> tuple[Totals, bool]:
        """Rows by state, and whether ``rows`` counts the whole input; if not, it counts the rows begun. Blocks."""
        return self._totals

    @cached_property
    def _totals(self) -> tuple[Totals, bool]:
        account, known = self.account.up_to(self.through[-1]), self.rows_known()
        return account.totals(max(known or 0, account.begun())), known is not None

    def summary(self) -> Summary:
        """Totals and use over all starts. ``this_start`` is from ``summary.json``, if a start has finished. Blocks."""
        try:
            last = msgspec.json.decode((self.folder / "summary.json").read_bytes(), type=Summary)
        except (OSError, msgspec.DecodeError):
            last = None
        through = self.through[-1]
        return Summary(
            totals=self.totals()[0],
            through=through,
            roles=[
                RoleUse(role=role, endpoint=name, **structs.asdict(used))
                for (role, name, _), used in self.journal.sums().items()
            ],
            output=self.output,
            this_start=last.this_start if last else None,
            shortfalls=last.shortfalls if last else [],
            warnings=last.warnings if last else [],
            shared_usd=self.manifest.shared_usd,
        )

    def running(self) -> int | None:
        """The id of the process that has locked this work_dir; 0 if the id is unknown, ``None`` if no process has."""
        return holder(self.folder)

    def state(self) -> Literal["running", "finished", "stopped"]:
        """Whether the run is going on, has finished, or was stopped."""
        if self.running() is not None:
            return "running"
        return "finished" if self.history.finished else "stopped"

    def counts(self, step: str) -> dict[str, int]:
        """How many rows are done, dropped and failed in a step."""
        found = self.steps[step].tally
        return {status.name.lower(): found[status] for status in (RowStatus.DONE, RowStatus.DROPPED, RowStatus.FAILED)}
