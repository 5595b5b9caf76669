"""Trainings whose steps are short sleeps: the real command, with ``fake_trainer.py`` as its child."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.finished_run import FinishedRun
from weak2wise.config import TrainSettings
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof import launch, training
from weak2wise.proof.messages import Planned, Progress
from weak2wise.proof.trained import Trained

SETTINGS = TrainSettings()


class Trainings:
    """Trains one base model on one run."""

    def __init__(self, work: WorkDir, folder: Path) -> None:
        self.work = work
        self.base = folder / "base"
        self.models = folder / "models"
        self.said: list[Planned | Progress] = []
        self.base.mkdir()
        for name in ("config.json", "tokenizer_config.json"):
            (self.base / name).write_text("{}")
        (self.base / "model.safetensors").write_text("weights")
        self.behave(6)

    def behave(self, steps: int, seconds: float = 0.01, **at: str) -> None:
        """How the training goes: so many steps of so many seconds, and what happens at ``step_3`` and the like."""
        happens = {step.removeprefix("step_"): what for step, what in at.items()}
        behaviour = {"steps": steps, "seconds": seconds, "at": happens}
        (self.base / "behaviour.json").write_text(json.dumps(behaviour))

    def train(
        self,
        arm: str = "winners",
        seed: int = 1,
        settings: TrainSettings = SETTINGS,
        without: frozenset[int] = frozenset(),
    ) -> Trained:
        """Train, and remember what was said."""
        self.said.clear()
        return training.train(
            self.work,
            arm,
            seed,
            settings,
            model=str(self.base),
            out=self.models,
            without=without,
            on_progress=self.said.append,
        )

    @property
    def steps(self) -> list[int]:
        """The steps that the last call made."""
        return [said.step for said in self.said if isinstance(said, Progress)]

    @property
    def parts(self) -> list[Path]:
        """What is there of models that are being made."""
        return sorted(self.models.glob(".*"))


def fake_command(spec: Path, *_: object) -> list[str]:
    return [sys.executable, "-m", "tests.proof.fake_trainer", str(spec)]


@pytest.fixture
def trainings(finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trainings]:
    monkeypatch.setattr(launch, "launch_command", fake_command)
    monkeypatch.setattr(training, "_PACKAGES", ())
    yield Trainings(WorkDir(finished.work), tmp_path)
    assert children(tmp_path / "models") == []


def children(models: Path) -> list[int]:
    """The trainers at work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"{models}/.".encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
