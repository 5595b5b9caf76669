"""What the workers of one run are built from."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from weak2wise.config import Params
from weak2wise.llm.model import Model
from workers.decontaminate import Overlap
from workers.dedup import NearDuplicates
from workers.judge import Judge
from workers.prompts import Prompts
from workers.rules import RULES


@dataclass(frozen=True, kw_only=True)
class Context:
    """The settings of one run, its models and what its workers share.

    ``models`` by role: ``weak``, ``strong/NAME``, ``judge``, ``truncation``; a role without a model is left out.
    """

    params: Params
    prompts: Prompts
    models: Mapping[str, Model]
    judge: Judge
    rules: int = RULES
    """The version of the rules by which the run decides."""
    overlap: Overlap | None = None
    """The questions of evaluation sets, which are to be dropped."""
    duplicates: NearDuplicates | None = None
    """The questions that nearly repeat an earlier one, which are to be dropped."""
    free: Callable[[], int] | None = None
    """How many more attempts an embedded weak LLM could make at this moment; ``None`` where attempts are paid for."""
    batched: bool = False
    """Whether the weak LLM answers in batches: then no call should wait for the answer of another one."""
    race_width: int | None = None
    """How many mask levels a race asks at once; ``None``: as many as ``free`` suggests."""
    bits: Counter[str] = field(default_factory=Counter)
    """Step-Mask's bits: ``asked``, ``spared`` by racing, ``in_vain`` (asked, not needed); hints ``too_long`` to ask."""
    cuts: Counter[str] = field(default_factory=Counter)
    """Cuts by what made them (``workers.truncate.Truncate.counts``)."""

    @property
    def strong(self) -> dict[str, Model]:
        """The strong models by endpoint name, in the config's order."""
        return {role.partition("/")[2]: model for role, model in self.models.items() if role.startswith("strong/")}
