"""Counters of one endpoint since it was made; the costs over all runs are in the journal."""

from collections import Counter

from weak2wise.telemetry.durations import Durations


class Meter:
    """Requests sent, answered and failed. ``faults`` counts by error kind, a 429 as ``rate_limited``."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.faults: Counter[str] = Counter()
        self.took = Durations()
        """Seconds from sending a request to its whole answer."""
