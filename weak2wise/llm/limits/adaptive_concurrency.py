"""How many requests may be in flight at a provider: a limit that adapts. Times are monotonic seconds.

If no limit is configured, it starts small and doubles each round trip (slow start). Doubling ends with a 429, or when
it no longer brings answers faster; then the limit grows in steps. Only a 429 makes it smaller.
"""

CUT = 0.75
"""The new limit after a 429, as a share of the requests that were in flight."""
STEPS_BACK = 32
"""After a cut, each round trip adds the refused concurrency divided by this: eight round trips restore it."""
FLAT_ROUNDS = 2
"""Doubling ends after this many round trips in a row that brought answers no faster."""
LONGEST_ROUND = 60.0
"""Seconds; answers may take half an hour, but a provider refuses a request at once."""


class AdaptiveConcurrency:
    """``size`` is how many requests may be in flight.

    It begins with ``first`` and never exceeds the ``ceiling``.
    """

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
        """An answer arrived while ``in_flight`` requests were in flight. The limit grows only if it was used up."""
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
        """Seconds until a limit that is used up grows although no answers came; 0 or less: now."""
        if not self._slow_start or self.size >= self._ceiling:
            return float("inf")
        return self._round_began + LONGEST_ROUND - now

    def grow_without_answers(self, now: float) -> None:
        """Grow because nothing was refused for ``LONGEST_ROUND``."""
        self.size = min(self._ceiling, 2 * self.size)
        self._new_round(now)

    def cut(self, in_flight: int) -> None:
        """A 429 arrived while ``in_flight`` requests were in flight."""
        refused = min(float(in_flight), self.size)
        self.size = max(1.0, CUT * refused)
        self._step = max(1.0, refused / STEPS_BACK)
        self._slow_start = False
