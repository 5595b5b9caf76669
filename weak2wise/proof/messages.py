"""What the process that trains is given, and what it says: one JSON line each on its standard output."""

from pathlib import Path

import msgspec
from msgspec import Struct

from weak2wise.config import TrainSettings
from weak2wise.ledger.files import write_atomic


class Spec(Struct, frozen=True, kw_only=True):
    """One training. ``rows`` is a file of ``ArmRow``; ``folder`` is where checkpoints and the model are written."""

    base: Path
    bare: bool
    trust_remote_code: bool
    rows: Path
    folder: Path
    seed: int
    settings: TrainSettings
    dry_run: bool = False

    def write(self, path: Path) -> None:
        """Write it into a file. Blocks; raises ``OSError``."""
        write_atomic(path, [msgspec.json.encode(self, enc_hook=str)])

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """The one in a file. Blocks; raises ``OSError``."""
        return msgspec.json.decode(path.read_bytes(), type=cls, dec_hook=lambda kind, value: kind(value))


class Example(Struct, frozen=True):
    """What is trained on, of a line of the file ``rows``."""

    row: int
    prompt: str
    response: str


class Planned(Struct, frozen=True, kw_only=True, tag="planned"):
    """What a training will do, known before it begins.

    ``tokens``: of the rows that are trained on, prompts included; ``learned``: of their responses alone.
    ``longest``: of one row. ``too_long``: the numbers of the input rows that are left out, as they have more tokens
    than ``limit``. ``chat``: whether the model's chat template is used. Estimates: ``memory_gib`` of weights, gradients
    and optimizer, over all devices where they are sharded; ``activations_gib`` of each device; ``disk_gib``.
    """

    rows: int
    tokens: int
    learned: int
    longest: int
    limit: int
    too_long: list[int]
    chat: bool
    steps: int
    parameters: int
    trained_parameters: int
    memory_gib: float
    activations_gib: float
    disk_gib: float
    resumed: int = 0
    """The step of the checkpoint that it goes on from."""


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """A step is done: which of how many, the mean loss of its tokens, and about how many seconds are to come."""

    step: int
    steps: int
    loss: float
    seconds_left: float


class Finished(Struct, frozen=True, kw_only=True, tag="finished"):
    """The model is in the folder ``model``. ``losses``: (step, loss) of every step. ``peak_gib``: memory in use."""

    planned: Planned
    losses: list[tuple[int, float]]
    seconds: float
    dtype: str
    peak_gib: float
    versions: dict[str, str]
    files: dict[str, int]


class Refused(Struct, frozen=True, tag="refused"):
    """The user has to change something."""

    message: str


class Stopped(Struct, frozen=True, tag="stopped"):
    """It can go on when what the hint says is done."""

    message: str
    hint: str


Message = Planned | Progress | Finished | Refused | Stopped
decoder = msgspec.json.Decoder(Message)
