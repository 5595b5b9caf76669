"""What is logged, for tests of who says what: a run's log that also keeps its events in a list."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from structlog.typing import EventDict

from weak2wise.telemetry.log import RunLog


class CollectedLog(RunLog):
    """A run's log; ``events`` holds what was written to it, as dictionaries with ``event``, ``level`` and the facts."""

    def __init__(self, peers: "set[RunLog] | None" = None) -> None:
        super().__init__(Path(os.devnull), str, peers=peers)
        self.events: list[dict[str, Any]] = []

    def write(self, event: EventDict) -> None:
        """Keep one event."""
        super().write(event)
        self.events.append(dict(event))


@contextmanager
def captured_logs(peers: "set[RunLog] | None" = None) -> Iterator[list[dict[str, Any]]]:
    """The events that happen inside, and in tasks and threads started inside.

    Args:
        peers: the logs of all runs of one host, if there are several.
    """
    log = CollectedLog(peers)
    try:
        with log.active():
            yield log.events
    finally:
        log.close()
