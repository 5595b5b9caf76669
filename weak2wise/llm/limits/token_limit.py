"""A configured limit of tokens per minute, prompts and answers together. Times are monotonic seconds.

What is sent within any 60 seconds uses at most the limit. A call counts when it is sent, with what it is expected to
use, and with what it did use as soon as that is known: an excess holds later calls back. As long as calls are in
flight, the sum of their sizes is uncertain, so some deviations of that sum are kept free. A call that used less than
expected counts as less only when those sent beside it are over: as long as they are not, they are the longer ones.

Within the minute calls are spread evenly by a token bucket, since providers may count shorter times.
"""

import math
from collections import deque

from weak2wise.llm.limits.call_sizes import CallSizes, Expected, Group

WINDOW = 60.0
SLICE = 0.25
"""Seconds that are counted together, and leave the window together, when the last of them does."""
AT_ONCE = 6.0
"""The bucket's size, in seconds of the rate."""
DEVIATIONS = 3.0
"""Standard deviations of the sum of unknown sizes that are kept free."""


class Slice:
    """What was sent within ``SLICE`` seconds: tokens as far as known, else expected.

    Of what is only expected: the ``variance``, and by how much it may be exceeded at most (``room``).
    """

    __slots__ = ("leaves", "room", "tokens", "variance")

    def __init__(self, began: float) -> None:
        self.leaves = began + SLICE + WINDOW
        self.tokens = self.variance = self.room = 0.0


class Charge:
    """What one call was charged: for which kind of call and group, what was expected of it, and when it was sent."""

    __slots__ = ("expected", "group", "prompt_tokens", "sent", "sizes")

    def __init__(self, sizes: CallSizes, prompt_tokens: float, expected: Expected, group: Group, sent: Slice) -> None:
        self.sizes = sizes
        self.prompt_tokens = prompt_tokens
        self.expected = expected
        self.group = group
        self.sent = sent


class TokenLimit:
    """At most ``per_minute`` tokens in any minute. A call that exceeds that alone is sent after a minute of silence."""

    def __init__(self, now: float, per_minute: float) -> None:
        self._limit = per_minute
        self._rate = per_minute / 60
        self._bucket = AT_ONCE * self._rate
        self._filled_at = now
        self._slices: deque[Slice] = deque()
        self._tokens = self._variance = self._room = 0.0
        """Sums over the slices in the window."""

    def wait(self, now: float, expected: Expected) -> float:
        """Seconds until a call of which this is expected may be sent; 0 or less: now."""
        size = AT_ONCE * self._rate
        self._bucket = min(size, self._bucket + (now - self._filled_at) * self._rate)
        self._filled_at = now
        wait = (min(expected.mean, size) - self._bucket) / self._rate
        while self._slices and self._slices[0].leaves <= now:
            gone = self._slices.popleft()
            self._add(-gone.tokens, -gone.variance, -gone.room)
        if not self._slices:
            self._tokens = self._variance = self._room = 0.0  # without the rounding errors
        tokens, variance = self._tokens + expected.mean, self._variance + expected.variance
        room, fits_at = self._room + expected.most - expected.mean, now
        for one in self._slices:
            if tokens + min(room, DEVIATIONS * math.sqrt(max(0.0, variance))) <= self._limit:
                break
            tokens, variance, room = tokens - one.tokens, variance - one.variance, room - one.room
            fits_at = one.leaves
        return max(wait, fits_at - now)

    def charge(self, now: float, sizes: CallSizes, prompt_tokens: float) -> Charge:
        """A call is sent."""
        if not self._slices or now >= self._slices[-1].leaves - WINDOW:
            self._slices.append(Slice(now))
        expected = sizes.expect(prompt_tokens)
        charge = Charge(sizes, prompt_tokens, expected, sizes.sent(), self._slices[-1])
        self._change(charge.sent, expected.mean, expected.variance, expected.most - expected.mean)
        return charge

    def settle(self, charge: Charge, used: float) -> None:
        """It is over and used so many tokens; 0: none, or it is not known how many."""
        group, expected = charge.group, charge.expected
        charge.sizes.ended(group, used - charge.prompt_tokens if used else None)
        excess = used - expected.mean
        self._change(charge.sent, max(0.0, excess), -expected.variance, expected.mean - expected.most)
        if excess < 0:
            group.withheld.append((charge.sent, excess))
        if group.sent == group.answered:
            for sent, less in group.withheld:
                self._change(sent, less, 0.0, 0.0)
            group.withheld.clear()

    def _change(self, sent: Slice, tokens: float, variance: float, room: float) -> None:
        self._bucket -= tokens
        sent.tokens += tokens
        sent.variance += variance
        sent.room += room
        if self._slices and sent.leaves >= self._slices[0].leaves:
            self._add(tokens, variance, room)

    def _add(self, tokens: float, variance: float, room: float) -> None:
        self._tokens += tokens
        self._variance += variance
        self._room += room
