"""How a proof is made: the optional section ``prove`` of the config, for ``weak2wise prove``."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from weak2wise.config.section import Count, Name, Section, Temperature
from weak2wise.errors import ConfigError


class HeldOut(Section, frozen=True, kw_only=True):
    """Questions that no model learns from, with the columns of the run's input."""

    section = "prove.held_out"

    questions: Name
    """A file in any format of the input, or ``hf:owner/name:config:split``."""
    samples: Annotated[int, Meta(ge=1, le=10_000)] = 4
    """Answers to each question."""
    name: Name | None = None
    """For tables. Left out, the file's."""
    limit: Count | None = None
    """Only the first questions."""

    @property
    def called(self) -> str:
        """The set's name."""
        return self.name or Path(self.questions.rpartition("/")[2]).stem


class ProveSettings(Section, frozen=True, kw_only=True):
    """What ``weak2wise prove`` compares with the untrained model, and on what; no run depends on it."""

    section = "prove"

    held_out: tuple[HeldOut, ...] = ()
    """Sets of held-out questions, each with ``questions`` (a file) and, if wanted, ``samples`` (answers to each, 4),
    ``name`` and ``limit``. The claim is about the first set."""
    arms: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("winners",)
    """What models are trained on. The claim is about the first."""
    seeds: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Trainings of each arm."""
    temperature: Temperature = 0.6
    """Of all answers to held-out questions."""
    max_new_tokens: Count | None = None
    """Of one answer. Left out, those of the weak LLM's endpoint."""
    prompt: Name | None = None
    """What all models are asked, with ``{question}`` in it. Left out, that of ``weak2wise evaluate``."""

    def __post_init__(self) -> None:
        """Check each key, then that names differ. Raises ``ConfigError``."""
        super().__post_init__()
        for key, names in (("arms", list(self.arms)), ("held_out", [held.called for held in self.held_out])):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ConfigError(f"prove.{key}: {', '.join(sorted(twice))} is there twice")
