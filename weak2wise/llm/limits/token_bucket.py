"""The tokens a minute that a provider allows, as configured. Times are monotonic seconds."""

TOKENS_AT_ONCE = 6.0
"""Seconds' worth of a token budget; with all of a minute's, twice the budget would fit into the first minute."""


class TokenBucket:
    """Tokens per minute as a leaky bucket; a request is charged what is expected, then settled by what it used."""

    def __init__(self, now: float, per_minute: float) -> None:
        self._rate = per_minute / 60
        self._capacity = TOKENS_AT_ONCE * self._rate
        self._left = self._capacity
        self._filled_at = now

    def wait(self, now: float, expected: float) -> float:
        """Seconds until a request of so many tokens fits, or the bucket is full; not above 0 if it does now."""
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
