"""What one start of a run is to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.config import Config
from weak2wise.config.shape import result_shape
from weak2wise.dataset import is_hub
from weak2wise.ledger.manifest import Resume
from weak2wise.paths import output_of
from weak2wise.run.input import Input
from workers.decontaminate import Overlap
from workers.method import METHOD, Step
from workers.prompts import Prompts
from workers.scorers import Scorer, scorer_named


@dataclass(frozen=True)
class Recipe:
    """What one start does with each row."""

    config: Config
    prompts: Prompts
    scorer: type[Scorer]
    steps: Sequence[Step]
    """The steps that this start takes, from the first."""

    @classmethod
    def of(cls, config: Config, up_to_step: int) -> "Recipe":
        """The recipe of a config. Raises ``ConfigError`` if its scorer cannot be loaded."""
        return Recipe(config, Prompts.of(config.prompts), scorer_named(config.params.scorer), METHOD[:up_to_step])


@dataclass(frozen=True)
class Plan(Recipe):
    """What one start is to do, and which files it writes."""

    input: Input
    resume: Resume
    """What to do if the work_dir holds an earlier run."""
    retry: frozenset[str] | None
    """Work only on rows that failed with these error kinds; ``None``: on all pending rows."""

    @property
    def work_dir(self) -> Path:
        """The run's folder."""
        return Path(self.config.dataset.work_dir)

    @property
    def manifest_file(self) -> Path:
        """The file that says whether the work_dir holds a run, and which."""
        return self.work_dir / "manifest.json"

    @property
    def failures(self) -> Path:
        """The file that lists the rows that failed."""
        return self.work_dir / "failed.jsonl"

    @property
    def output(self) -> Path:
        """The file of the training data."""
        return output_of(self.config)

    @property
    def writes_output(self) -> bool:
        """Whether this start takes the last step, which makes the training data."""
        return self.steps[-1] is METHOD[-1]

    def file_of(self, step: Step) -> Path:
        """The output file of a step."""
        return self.output if step is METHOD[-1] else self.work_dir / step.file

    def shape(self, overlap: Overlap | None) -> dict[str, Any]:
        """The config keys that shape results, with their values; ``overlap``: the evaluation sets, if there are any."""
        shape = result_shape(self.config, msgspec.to_builtins(self.prompts), self.scorer.version)
        shape |= {"dataset.decontaminate": overlap.digest} if overlap else {}
        dedup = self.config.dataset.dedup
        return shape | ({"dataset.dedup": dedup} if dedup else {})

    def named(self) -> dict[str, Any]:
        """The absolute names of the input and the other files that no export may replace. Blocks."""
        source = self.input.name
        sets = [name for name in self.config.dataset.decontaminate if not is_hub(Path(name))]
        return {
            "input": str(source if is_hub(source) else source.resolve()),
            "sets": [str(Path(name).resolve()) for name in sets],
            "output": str(self.output.resolve()),
        }
