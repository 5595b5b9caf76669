"""A provider's rate limit: so many requests in any window of time, for each model by itself."""

import math
from collections import deque


class RateLimit:
    """Admits at most ``per_minute * window / 60`` requests (at least one) in any ``window`` seconds."""

    def __init__(self, per_minute: float, window: float) -> None:
        self._quota = max(1, math.floor(per_minute * window / 60))
        self._window = window
        self._admitted: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Seconds until a request would be admitted; 0 if it was admitted now."""
        while self._admitted and self._admitted[0] <= now - self._window:
            self._admitted.popleft()
        if len(self._admitted) >= self._quota:
            return self._admitted[0] + self._window - now
        self._admitted.append(now)
        return 0.0

    def headers(self, now: float) -> str:
        """What providers tell about the limit with every reply."""
        reset = self._admitted[0] + self._window - now if self._admitted else 0.0
        return (
            f"x-ratelimit-limit-requests: {self._quota}\r\n"
            f"x-ratelimit-remaining-requests: {self._quota - len(self._admitted)}\r\n"
            f"x-ratelimit-reset-requests: {reset:.3f}s\r\n"
        )
