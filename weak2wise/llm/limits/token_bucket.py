"""A configured limit of tokens per minute. Times are monotonic seconds."""

TOKENS_AT_ONCE = 6.0
"""The bucket's size, in seconds of the rate. With 60, the first minute could use twice the limit."""


class TokenBucket:
    """Tokens per minute; a request is charged the expected tokens, then corrected to those it used."""

    def __init__(self, now: float, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = TOKENS_AT_ONCE * self._rate
        self._left = self._capacity
        self._filled_at = now

    def wait(self, now: float, expected: float) -> float:
        """Seconds until ``expected`` tokens fit, or the bucket is full; 0 or less if they fit now."""
        self._left = min(self._capacity, self._left + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return (max(min(expected, self._capacity), 1) - self._left) / self._rate

    def charge(self, expected: float) -> float:
        """Take the tokens of one request; returns how many."""
        self._left -= expected
        return expected

    def settle(self, charged: float, used: int) -> None:
        """Correct a charge once the true number of tokens is known."""
        self._left += charged - used
