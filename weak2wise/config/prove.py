"""How a proof is made: the optional section ``prove`` of the config, for ``weak2wise prove``."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from weak2wise.config.section import Count, Name, Section, Temperature
from weak2wise.errors import ConfigError


class HeldOut(Section, frozen=True, kw_only=True):
    """Questions that no model learns from, and how many answers each gets.

    ``questions``: a file in any format of the input, or ``hf:…``, with the input's columns. ``name``: for tables; left
    out, the file's. ``limit``: only the first questions.
    """

    section = "prove.held_out"

    questions: Name
    samples: Annotated[int, Meta(ge=1, le=10_000)] = 4
    name: Name | None = None
    limit: Count | None = None

    @property
    def called(self) -> str:
        """The set's name."""
        return self.name or Path(self.questions.rpartition("/")[2]).stem


class ProveSettings(Section, frozen=True, kw_only=True):
    """What is compared with the untrained model, and on what.

    ``held_out``: the sets of questions; the claim is about the first. ``arms``: what the models are trained on; the
    claim is about the first. ``seeds``: trainings of each arm. ``temperature``, ``max_new_tokens``, ``prompt``: how all
    models are asked alike; left out, as ``weak2wise evaluate`` does by default.
    """

    section = "prove"

    held_out: tuple[HeldOut, ...] = ()
    arms: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("winners",)
    seeds: Annotated[int, Meta(ge=1, le=1000)] = 2
    temperature: Temperature = 0.6
    max_new_tokens: Count | None = None
    prompt: Name | None = None

    def __post_init__(self) -> None:
        """Check each key, then that names are told apart. Raises ``ConfigError``."""
        super().__post_init__()
        for key, names in (("arms", list(self.arms)), ("held_out", [held.called for held in self.held_out])):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ConfigError(f"prove.{key}: {', '.join(sorted(twice))} is there twice")
