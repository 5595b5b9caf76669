"""Counters of one endpoint since it was made; the costs over all runs are in the journal."""

import time
from collections import Counter

from weak2wise.telemetry.durations import Durations


class Meter:
    """Requests sent, answered and failed. ``faults`` counts by error kind, a 429 as ``rate_limited``."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.faults: Counter[str] = Counter()
        self.last_fault = ""
        """The message of the last fault, without secrets."""
        self.last_fault_at = 0.0
        """When that was (``time.monotonic()``)."""
        self.took = Durations()
        """Seconds from sending a request to its whole answer."""

    def fault(self, kind: str, said: str) -> None:
        """Count a fault; ``said`` is its message, without secrets."""
        self.faults[kind] += 1
        self.last_fault, self.last_fault_at = said, time.monotonic()
