"""Counters of one endpoint since the process started; what was spent over all runs is in the journal."""

from collections import Counter

from weak2wise.telemetry.durations import Durations


class Meter:
    """Requests sent, and what came of them. ``faults`` counts by error kind, a 429 as ``rate_limited``."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.faults: Counter[str] = Counter()
        self.took = Durations()
        """Seconds from sending a request to its whole answer."""
