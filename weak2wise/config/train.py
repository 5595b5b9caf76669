"""How the weak LLM is trained: the optional section ``train`` of the config, for ``weak2wise train`` and ``prove``."""

from typing import Annotated, Any, Literal

from msgspec import Meta, structs

from weak2wise.config.section import LARGEST, Count, Positive, Section
from weak2wise.errors import ConfigError


class TrainSettings(Section, frozen=True, kw_only=True):
    """How `weak2wise train` trains; no run depends on it.

    The recipe is that of s1K: AdamW, a cosine with 5 % warm-up, the loss of the response alone, and no row cut.
    """

    section = "train"

    learning_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Its highest value. Left out, it is 1e-5 for all weights and 1e-4 for LoRA."""
    epochs: Positive = 5.0
    """How often each row is seen."""
    max_steps: Count | None = None
    """Ends the training earlier or later than `epochs`."""
    batch_size: Count = 16
    """Rows of one step, over all devices."""
    device_batch_size: Count = 2
    """Rows that one device computes at once. Lower it if the memory is full; results change only by rounding."""
    lora_rank: Count | None = None
    """Train adapters of this rank in all linear layers, merged at the end. Left out, all weights are trained."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """What is computed in; trained weights stay in float32. Left out, `bfloat16` on a GPU and `float32` elsewhere."""
    max_length: Annotated[int, Meta(ge=2, le=LARGEST)] | None = None
    """Rows of more tokens are left out; never is one cut. Left out, it is the model's context."""
    save_steps: Count | None = None
    """Steps from one checkpoint to the next. Left out, a tenth of all."""
    threads: Count | None = None
    """Of a training on the CPU. Left out, one for each core; where others use the machine, 1 may be the fastest."""

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
