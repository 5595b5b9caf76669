"""How the weak LLM is trained: the optional section ``train`` of the config, for ``weak2wise train`` and ``prove``."""

from typing import Annotated, Any, Literal

from msgspec import Meta, structs

from weak2wise.config.section import LARGEST, Count, Positive, Section
from weak2wise.errors import ConfigError


class TrainSettings(Section, frozen=True, kw_only=True):
    """The recipe is that of s1K: AdamW, cosine with 5 % warm-up, no row cut, loss on the response alone.

    ``learning_rate``: left out, 1e-5 for all weights and 1e-4 for LoRA. ``epochs``: how often each row is seen;
    ``max_steps`` ends the training earlier or later than that. ``batch_size``: rows of one step, over all devices;
    ``device_batch_size``: rows that one device computes at once, which decides memory and no result. ``lora_rank``:
    train adapters of this rank, merged into the weights at the end; left out, all weights are trained. ``dtype``:
    what is computed in; left out, ``bfloat16`` on a GPU and ``float32`` elsewhere. ``max_length``: rows of more tokens
    are left out; never is one cut. Left out, it is the model's context. ``save_steps``: steps from one checkpoint to
    the next; left out, a tenth of all. ``threads``: of a training on the CPU; left out, one for each core.
    """

    section = "train"

    learning_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    epochs: Positive = 5.0
    max_steps: Count | None = None
    batch_size: Count = 16
    device_batch_size: Count = 2
    lora_rank: Count | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    max_length: Annotated[int, Meta(ge=2, le=LARGEST)] | None = None
    save_steps: Count | None = None
    threads: Count | None = None

    def __post_init__(self) -> None:
        """Check each key, and that a step can be divided. Raises ``ConfigError``."""
        super().__post_init__()
        if self.batch_size % self.device_batch_size:
            raise ConfigError(
                f"train.batch_size: expected a multiple of train.device_batch_size ({self.device_batch_size}), found "
                f"{self.batch_size}"
            )

    @property
    def rate(self) -> float:
        """The learning rate in use."""
        return self.learning_rate or (1e-5 if self.lora_rank is None else 1e-4)

    def shape(self) -> dict[str, Any]:
        """What shapes the trained weights; the rest decides speed and memory alone."""
        given = structs.asdict(self)
        for key in ("device_batch_size", "save_steps", "threads"):
            del given[key]
        return given | {"learning_rate": self.rate}
