"""A trained model, as its folder says."""

from pathlib import Path

import msgspec
from msgspec import Struct, structs

from weak2wise.access import refusal
from weak2wise.config import TrainSettings
from weak2wise.errors import ConfigError

KEPT = "trained.json"
"""The file of a model's folder that says how it was trained."""


class Trained(Struct, frozen=True, kw_only=True):
    """A trained model; ``trained.json`` in its folder has all but ``folder`` and ``reused``.

    ``losses``: (step, mean loss of the tokens learned) of every step. ``seconds``: of training, over all starts.
    ``too_long``: input rows that were left out. ``strong``: rows by strong model. ``files``: sizes, by relative path.
    ``reused``: the model was there already.
    """

    base: str
    arm: str
    seed: int
    digest: str
    settings: TrainSettings
    rows: int
    tokens: int
    too_long: list[int]
    strong: dict[str, int]
    steps: int
    losses: list[tuple[int, float]]
    seconds: float
    dtype: str
    peak_gib: float
    versions: dict[str, str]
    files: dict[str, int]
    folder: Path = Path()
    reused: bool = False


def read_trained(folder: Path) -> Trained | None:
    """The model in a folder; ``None`` if there is no folder. Blocks.

    Raises:
        ConfigError: something else is in it, or a file is missing or has another size.
    """
    if not folder.exists():
        return None
    advice = "move the folder somewhere else, and it is trained again"
    try:
        found = msgspec.json.decode((folder / KEPT).read_bytes(), type=Trained)
        for name, size in found.files.items():
            if (folder / name).stat().st_size != size:
                raise ConfigError(f"{folder / name}: has not the size that it was written with; {advice}")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {refusal(folder, error)}; {advice}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{folder / KEPT}: is not what a training writes ({error}); {advice}") from None
    return structs.replace(found, folder=folder)
