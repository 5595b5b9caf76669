"""The request rate that a provider turns out to allow, learned from when it refuses.

Time is cut into epochs, each ended by a refusal and the pause that it asks for. What an epoch got through, divided by
its length with that pause, is the provider's rate, whatever window the provider counts in: a burst of 6,000 requests in
four seconds and a minute's pause are 100 a second. The next epoch starts a little below that, comes back to it in about
the time that the last epoch took, lingers there and then leaves it behind ever faster (the cubic of TCP CUBIC, by
requests sent instead of by time), so that a limit that was raised, or learned wrongly, is found again.

Some refusals do not follow the rate: an upstream that is overloaded, a limit on requests in flight, a day's quota.
Cutting the rate for them would only make everything slow: after some epochs that ended early, and after a pause longer
than any provider's window, the rate is forgotten.
"""

import math

CUT = 0.04
"""The share of the learned rate that an epoch begins below it."""
MARGIN, FAR = 1.1, 1.15
SHORTEST_WAY = 400
"""Requests; coming back sooner would mean being refused more than once in so many."""
LONGEST_LINGER, LONGEST_WAY = 60.0, 150.0
"""Seconds on the way back: providers count by the minute, so more is no surer; and slow endpoints need some bound."""
TOO_FEW = 20
"""Requests; an epoch that got fewer through goes on after its pause."""
SLACK_SECONDS = 0.05
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
        self.refused_at = began
        self.ended = began
        self.asked = math.inf
        self.linger = 0.0
        self.goes_on: Epoch | None = None

    @property
    def rate(self) -> float:
        """Requests a second that this epoch, now ended, says are allowed.

        What got through is a lower bound, for the epoch began below the limit and the pause is part of it. The rate
        that was refused is an upper one; it is the better one where the two are near each other.
        """
        through = (self.sent - self.refused) / max(self.ended - self.began, 1e-3)
        return through if self.asked == math.inf else min(self.asked, MARGIN * through)


class Pace:
    """How fast one provider may be asked; without a refusal, as fast as one likes."""

    def __init__(self, now: float) -> None:
        self.epoch = Epoch(now)
        self.resumes_at = now
        self._learned: Epoch | None = None
        self._early = 0
        self._next_at = 0.0

    @property
    def rate(self) -> float | None:
        """Requests a second that may be sent now; ``None`` while nothing is known."""
        if self._learned is None:
            return None
        way = self.epoch.sent / self._way_back(self._learned)
        return self._learned.rate * (1 + CUT * (way - 1) ** 3)

    @staticmethod
    def _way_back(learned: Epoch) -> float:
        """How many requests it takes to come back to the learned rate."""
        return min(max(SHORTEST_WAY, learned.rate * learned.linger), max(TOO_FEW, learned.rate * LONGEST_WAY))

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent; not above 0 if it may now."""
        return 0.0 if self._learned is None else self._next_at - now

    def send(self, now: float) -> Epoch:
        """A request is being sent; returns the epoch it belongs to."""
        self.epoch.sent += 1
        if rate := self.rate:
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
        if ended.sent <= ended.refused:  # the pause before was too short, and is that epoch's
            self._resume(until)
            return
        self._early = self._early + 1 if self._learned and ended.sent < self._way_back(self._learned) / 2 else 0
        if ended.sent - ended.refused < TOO_FEW:
            self._resume(until, ended)
            return
        ended.refused_at, ended.ended, ended.asked = now, until, self.rate or math.inf
        # What took long to be refused may be lingered at for as long, unless it was far from what had been learned.
        before = self._learned
        is_news = before is not None and ended.asked > FAR * before.rate
        ended.linger = before.linger if before and is_news else min(until - ended.began, LONGEST_LINGER)
        self._learned = ended
        self._resume(until)

    def prolong(self, until: float) -> None:
        """The pause turns out longer; too late where something was sent after it."""
        if not self.epoch.sent:
            self._resume(until)

    def _resume(self, at: float, before: Epoch | None = None) -> None:
        """A new epoch begins then; what was learned is forgotten if it proves to be no rate."""
        self.resumes_at = at
        self.epoch = Epoch(at, before)
        if before:
            before.goes_on = self.epoch
        elif self._learned:
            self._learned.ended = at
        if self._learned and (self._early >= EARLY_ENDS or at - self._learned.refused_at > LONGEST_WINDOW):
            self._learned, self._early = None, 0
