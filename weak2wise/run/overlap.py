"""Reads the evaluation sets that a config names, to keep their questions out of the training data."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from weak2wise.config import Config
from weak2wise.dataset import at_hand, naming_setting, read_questions
from weak2wise.errors import ConfigError
from workers.decontaminate import Overlap


def read_overlap(config: Config, find: Callable[[Path, Path], Path] = at_hand) -> Overlap | None:
    """The questions to keep out, ``None`` if no sets are named. Blocks. Raises ``ConfigError``.

    ``find`` gives the file of a set; a run passes ``keep``, which may fetch and write it.
    """
    dataset = config.dataset
    if not dataset.decontaminate:
        return None
    paths = [Path(name) for name in dataset.decontaminate]
    alike = Counter(path.name for path in paths)
    names = [path.name if alike[path.name] == 1 else str(path) for path in paths]

    def questions(path: Path) -> Iterator[str]:
        with naming_setting("dataset.decontaminate"):
            file = find(path, Path(dataset.work_dir))
        try:
            yield from read_questions(file, dataset.columns)
        except ConfigError as error:
            raise (error if file == path else ConfigError(f"{path}: {error}")) from None

    return Overlap((name, questions(path)) for name, path in zip(names, paths, strict=True))
