"""The folder that a run writes to, which may be moved or deleted meanwhile."""

import os
from pathlib import Path

from weak2wise.errors import RunStopped


class HeldFolder:
    """Which folder a path names when this is made, and whether it still does. To look at it blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found = folder.stat()

    def is_in_place(self) -> bool:
        """Whether the path names the same folder."""
        try:
            return os.path.samestat(self._found, self._folder.stat())
        except OSError:
            return False

    def check(self) -> None:
        """Raise ``moved`` if it does not."""
        if not self.is_in_place():
            raise self.moved()

    def moved(self) -> RunStopped:
        """The error that ends a run whose folder is somewhere else."""
        return RunStopped(
            f"{self._folder}: was moved or deleted while the run was writing there (dataset.work_dir)",
            hint="Move the folder back first, or set dataset.work_dir to where it is now.",
        )
