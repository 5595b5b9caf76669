"""How many requests may be in flight at a provider, and what makes that more or fewer. Times are monotonic seconds.

Where no limit is configured the window starts small and doubles a round trip (slow start) until a 429, or until
doubling has stopped bringing answers faster; then it grows by steps. Nothing but a 429 makes it smaller.
"""

CUT = 0.75
"""What a 429 leaves of the requests that were in flight."""
STEPS_BACK = 32
"""After a cut the window grows by the refused one over this, each round trip: it is back after eight."""
FLAT_ROUNDS = 2
"""So many round trips running that brought answers no faster end the doubling."""
LONGEST_ROUND = 60.0
"""Seconds; answers may take half an hour, but a provider that does not want a request says so at once."""


class AdaptiveConcurrency:
    """So many requests may be in flight: ``first`` of them to begin with, never more than the ``ceiling``."""

    def __init__(self, now: float, *, ceiling: int, first: int) -> None:
        self.size = float(first)
        self._ceiling = ceiling
        self._slow_start = first < ceiling
        self._step = 1.0
        self._best = 0.0
        self._flat = 0
        self._new_round(now)

    def _new_round(self, now: float) -> None:
        self._round_began, self._round_size, self._answers = now, int(self.size), 0

    def answered(self, in_flight: int, now: float) -> None:
        """An answer arrived while so many were in flight; only a window that was full grows."""
        if in_flight < int(self.size):
            self._new_round(now)
        elif not self._slow_start:
            self.size = min(self._ceiling, self.size + self._step / self.size)
        else:
            self.size = min(self._ceiling, self.size + 1)
            self._answers += 1
            if self._answers >= self._round_size:
                self._end_round(now)

    def _end_round(self, now: float) -> None:
        rate = self._answers / max(now - self._round_began, 1e-6)
        self._flat = 0 if rate > 1.1 * self._best else self._flat + 1
        self._best = max(rate, self._best)
        self._slow_start = self._flat < FLAT_ROUNDS
        self._new_round(now)

    def overdue(self, now: float) -> float:
        """Seconds until a full window grows although its answers are not there yet; not above 0 if it does now."""
        if not self._slow_start or self.size >= self._ceiling:
            return float("inf")
        return self._round_began + LONGEST_ROUND - now

    def grow_unasked(self, now: float) -> None:
        """Nothing was refused for as long as that."""
        self.size = min(self._ceiling, 2 * self.size)
        self._new_round(now)

    def cut(self, in_flight: int) -> None:
        """A 429 arrived while so many were in flight."""
        refused = min(float(in_flight), self.size)
        self.size = max(1.0, CUT * refused)
        self._step = max(1.0, refused / STEPS_BACK)
        self._slow_start = False
