"""The request rate that a provider turns out to allow, learned from when it refuses.

Time is cut into epochs, each ended by a refusal and the pause that it asks for. What an epoch got through, divided by
its length with that pause, is at most the provider's rate, whatever window the provider counts in: a burst of 6,000
requests in four seconds and a minute's pause are 100 a second. How fast requests went out when they were refused is at
least that rate. What is learned lies between the two. The next epoch starts a little below it, comes back to it in
about the time that the last epoch took, lingers there and then leaves it behind ever faster (the cubic of TCP CUBIC,
by requests sent instead of by time), so that a limit that was raised, or learned wrongly, is found again.

Some refusals do not follow the rate: an upstream that is overloaded, a limit on requests in flight, a day's quota, a
handful of requests that arrived too near each other. Cutting the rate for them would only make everything slow: one
epoch that ends early teaches nothing, several running and a pause longer than any provider's window make the rate be
forgotten.

A rate that is configured is a ceiling over all that.
"""

import math
from collections import deque

CUT = 0.04
"""The share of the learned rate that an epoch begins below it."""
NEARER = 0.7
"""Of the two bounds the upper one is the better: the pause in the lower one is often rounded up to whole seconds."""
RECENT_SECONDS = 2.0
"""How fast requests go out is told over that time; the shortest window that providers count in is a second."""
SHARE_OF_CONFIGURED = 0.98
"""Requests that are spaced evenly still arrive unevenly; a server that counts by the second would refuse some."""
SHORTEST_WAY = 400
"""Requests; coming back sooner would mean being refused more than once in so many."""
LONGEST_LINGER, LONGEST_WAY = 60.0, 150.0
"""Seconds on the way back: providers count by the minute, so more is no surer; and slow endpoints need some bound."""
TOO_FEW = 20
"""Requests; an epoch that got fewer through goes on after its pause."""
SLACK_SECONDS = 0.02
"""Time lost by waking up late that may be made up for."""
EARLY_ENDS = 5
"""So many epochs running that end before half of their way back say nothing about the rate."""
LONGEST_WINDOW = 90.0
"""Seconds; providers count requests a minute, if not a second."""


class Epoch:
    """What was sent from one refusal to the next; times are monotonic seconds."""

    def __init__(self, began: float, before: "Epoch | None" = None) -> None:
        """``before``: the same epoch until its last pause, whose counts go on here."""
        self.began: float = before.began if before else began
        self.sent: int = before.sent if before else 0
        self.refused: int = before.refused if before else 0
        self.ended = began
        self.asked = math.inf
        self.early = False
        self.linger = 0.0
        self.goes_on: Epoch | None = None

    @property
    def rate(self) -> float:
        """Requests a second that this epoch, now ended, says are allowed.

        What got through is a lower bound, for the epoch began below the limit and the pause is part of it. The rate
        that was refused is an upper one; an epoch that ended early did not go on for long enough to tell it.
        """
        through = (self.sent - self.refused) / max(self.ended - self.began, 1e-3)
        if self.early or self.asked == math.inf:
            return min(through, self.asked)
        return NEARER * self.asked + (1 - NEARER) * through


class Pace:
    """How fast one provider may be asked; without a refusal, as fast as one likes."""

    def __init__(self, now: float, configured: float | None = None) -> None:
        """``configured``: requests a second that are never to be passed."""
        self.epoch = Epoch(now)
        self.resumes_at = now
        self._most = math.inf if configured is None else SHARE_OF_CONFIGURED * configured
        self._learned: Epoch | None = None
        self._pausing: Epoch | None = None
        self._early = 0
        self._refused_at = now
        self._next_at = 0.0
        self._recent: deque[float] = deque()

    @property
    def rate(self) -> float | None:
        """Requests a second that may be sent now; ``None`` while nothing is known."""
        if self._learned is None:
            return None if self._most == math.inf else self._most
        way = self.epoch.sent / self._way_back(self._learned)
        return min(self._most, self._learned.rate * (1 + CUT * (way - 1) ** 3))

    @staticmethod
    def _way_back(learned: Epoch) -> float:
        """How many requests it takes to come back to the learned rate."""
        return min(max(SHORTEST_WAY, learned.rate * learned.linger), max(TOO_FEW, learned.rate * LONGEST_WAY))

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent; not above 0 if it may now."""
        return self._next_at - now

    def send(self, now: float) -> Epoch:
        """A request is being sent; returns the epoch it belongs to."""
        self.epoch.sent += 1
        if rate := self.rate:
            self._recent.append(now)
            while self._recent[0] < max(self.resumes_at, now - RECENT_SECONDS):
                self._recent.popleft()
            self._next_at = max(self._next_at, now - SLACK_SECONDS) + 1 / rate
        return self.epoch

    def idled(self, since: float, until: float) -> None:
        """Nobody wanted anything for that time, which therefore says nothing about the rate."""
        self.epoch.began += max(0.0, until - max(since, self.epoch.began))

    def refused(self, epoch: Epoch) -> None:
        """A request of an epoch was refused, perhaps long after that epoch ended."""
        part: Epoch | None = epoch
        while part:
            part.refused += 1
            part = part.goes_on

    def end_epoch(self, now: float, until: float) -> None:
        """The provider wants nothing more ``until`` then: learn from what got through."""
        ended = self.epoch
        if ended.sent > ended.refused:  # else the pause before was too short
            early = self._learned is not None and ended.sent < self._way_back(self._learned) / 2
            self._early = self._early + 1 if early else 0
            self._pausing, self._refused_at = None, now
            if self._early == 1 or ended.sent - ended.refused < TOO_FEW:
                ended.goes_on = Epoch(until, ended)
            else:
                ended.asked, ended.early = self._asked(now), early
                ended.linger = min(until - ended.began, LONGEST_LINGER)
                self._learned = self._pausing = ended
        self._pause(until)

    def prolong(self, until: float) -> None:
        """The pause turns out longer; too late where something was sent after it."""
        if not self.epoch.sent:
            self._pause(until)

    def _pause(self, until: float) -> None:
        """Begin the next epoch then; what was learned is forgotten if it proves to be no rate."""
        self.resumes_at = until
        self.epoch = self.epoch.goes_on or Epoch(until)
        if self._pausing:
            self._pausing.ended = until
        if self._early >= EARLY_ENDS or until - self._refused_at > LONGEST_WINDOW:
            self._learned, self._early = None, 0

    def _asked(self, now: float) -> float:
        """Requests a second that have been sent of late, if that can be told; without a rate as fast as they came."""
        rate = self.rate
        if rate is None:
            return math.inf
        span = now - self._recent[0]
        return rate if span < RECENT_SECONDS / 2 else min(rate, len(self._recent) / span)
