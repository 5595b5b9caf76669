"""Child processes that do not run their parent's main program again.

A spawned process imports the main module of its parent, so that it finds what was defined there. Ours need nothing of
it, and a script that starts a run at its top level, without ``if __name__ == "__main__"``, would start it once more in
each of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

_this_thread = threading.local()
_installing = threading.Lock()


@contextmanager
def without_main() -> Iterator[None]:
    """Processes that this thread spawns inside import no main module; those of other threads are not concerned."""
    with _installing:
        if spawn.get_preparation_data is not _preparation_data:
            _originals.append(spawn.get_preparation_data)
            spawn.get_preparation_data = _preparation_data
    _this_thread.without_main = True
    try:
        yield
    finally:
        _this_thread.without_main = False


_originals: list[Any] = []


def _preparation_data(name: str) -> dict[str, Any]:
    data: dict[str, Any] = _originals[-1](name)
    if getattr(_this_thread, "without_main", False):
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the name that multiprocessing knows
        with without_main():
            return SpawnProcess._Popen(process_obj)  # noqa: SLF001 - so its contexts do


class MainlessContext(SpawnContext):
    """A ``spawn`` context whose processes import no main module."""

    Process = _Process
