"""The request rate that a provider turns out to allow, learned from when it refuses.

Time is cut into epochs, each ended by a refusal and the pause that it asks for. What an epoch got through, divided by
its length with that pause, is at most the provider's rate, whatever window the provider counts in: a burst of 6,000
requests in four seconds and a minute's pause are 100 a second. How fast requests went out when they were refused is at
least that rate. What is learned lies between the two. The next epoch starts a little below it, comes back to it in
about the time that the last epoch took, lingers there and then leaves it behind ever faster (the cubic of TCP CUBIC,
by requests sent instead of by time), so that a limit that was raised, or learned wrongly, is found again.

Some refusals do not follow the rate: an upstream that is overloaded, a limit on requests in flight, a day's quota.
Cutting the rate for them, again and again, would only make everything slow. They show in three ways. A refusal is
*stray* if those sent right after it were accepted: if it ends an epoch early, it teaches nothing. One epoch that ends
early without that teaches nothing either. And where refusals go on coming early however far the rate was cut, they are
*disregarded*: epochs go on after their pauses, faster and faster, until that makes refusals denser. A pause longer than
any provider's window makes the rate be forgotten.

A rate that is configured is a ceiling over all that.
"""

import math
from collections import deque

CUT = 0.04
"""The share of the learned rate that an epoch begins below it."""
NEARER = 0.7
"""Of the two bounds the upper one is the better: the pause in the lower one is often rounded up to whole seconds."""
LEAST_OF_STRAY = 0.98
"""Of the refused rate; a stray refusal proves that the rate is hardly too high."""
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
FOLLOWERS = 4
"""Requests sent between a refused one and the news of it; with fewer, nothing is known of what it was due to."""
STRAY_SHARE = 0.05
"""Of the followers; one more is granted to 20 of them."""
UNTOLD = 4
"""So many more refusals that are stray, or alone and early, than others say that they do not follow the rate."""
DENSER = 2
"""Refusals so many times as dense as when they began to be disregarded do follow the rate."""
LONGEST_WINDOW = 90.0
"""Seconds; providers count requests a minute, if not a second."""


class Epoch:
    """What was sent from one refusal to the next; times are monotonic seconds."""

    def __init__(self, began: float, before: "Epoch | None" = None) -> None:
        """``before``: the same epoch until its last pause, whose counts go on here."""
        self.began: float = before.began if before else began
        self.sent: int = before.sent if before else 0
        self.refused: int = before.refused if before else 0
        self._before = self.sent, self.refused
        self.followers = 0
        self.ended = began
        self.asked = math.inf
        self.early = False
        self.linger = 0.0
        self.goes_on: Epoch | None = None

    @property
    def length(self) -> int:
        """Requests sent since the last pause."""
        return self.sent - self._before[0]

    @property
    def latest_refused(self) -> int:
        """Requests refused since the last pause."""
        return self.refused - self._before[1]

    @property
    def stray(self) -> bool:
        """Whether, of the requests sent until the refusal was known, next to none were refused as well."""
        granted = STRAY_SHARE * self.followers + (self.followers >= 1 / STRAY_SHARE)
        return self.followers >= FOLLOWERS and self.latest_refused - 1 <= granted

    @property
    def rate(self) -> float:
        """Requests a second that this epoch, now ended, says are allowed.

        What got through is a lower bound, for the epoch began below the limit and the pause is part of it. The rate
        that was refused is an upper one; an epoch that ended early did not go on for long enough to tell it.
        """
        through = (self.sent - self.refused) / max(self.ended - self.began, 1e-3)
        if self.early or self.asked == math.inf:
            return min(through, self.asked)
        between = NEARER * self.asked + (1 - NEARER) * through
        return max(between, LEAST_OF_STRAY * self.asked) if self.stray else between


class AdaptiveRate:
    """How fast one provider may be asked; without a refusal, as fast as one likes."""

    def __init__(self, now: float, configured: float | None = None) -> None:
        """``configured``: requests a second that are never to be passed."""
        self.epoch = Epoch(now)
        self.resumes_at = now
        self._most = math.inf if configured is None else SHARE_OF_CONFIGURED * configured
        self._learned: Epoch | None = None
        self._ended: Epoch | None = None
        """The last one; what it says is known when its pause is over, as more of its requests may be refused."""
        self._pausing: Epoch | None = None
        self._was_early = False
        self._untold = 0
        self._lengths: deque[int] = deque(maxlen=UNTOLD)
        self._disregarded = 0.0
        """Requests between two refusals when they began to be disregarded; 0 if they are not."""
        self._refused_at = now
        self._next_at = 0.0
        self._held_back = 1.0
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
        if self._ended:
            self._learn(self._ended)
            self._ended = None
        self.epoch.sent += 1
        if rate := self.rate:
            self._recent.append(now)
            while self._recent[0] < max(self.resumes_at, now - RECENT_SECONDS):
                self._recent.popleft()
            self._held_back += ((now - self._next_at < SLACK_SECONDS) - self._held_back) / TOO_FEW
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

    def end_epoch(self, now: float, until: float, followers: int = 0) -> None:
        """The provider wants nothing more ``until`` then; so many were sent after the one that it refused."""
        ended = self.epoch
        if ended.sent > ended.refused:  # else the pause before was too short
            ended.asked, ended.followers = self._asked(now), followers
            if self._learned:
                # Where the rate did not hold them back, requests were refused for something else or a lower limit.
                came_back = ended.sent >= self._way_back(self._learned) / 2
                ended.early = not came_back or self._held_back < 0.5
            self._ended = self._pausing = ended
            self._refused_at = now
        self._pause(until)

    def prolong(self, until: float) -> None:
        """The pause turns out longer; too late where something was sent after it."""
        if not self.epoch.sent:
            self._pause(until)

    def _pause(self, until: float) -> None:
        """Begin the next epoch then."""
        self.resumes_at = until
        self.epoch = Epoch(until)
        if self._pausing:
            self._pausing.ended = until

    def _learn(self, ended: Epoch) -> None:
        """Draw from an epoch, whose pause is over, what it says about the rate; or let it go on."""
        self._pausing = None
        if ended.ended - self._refused_at > LONGEST_WINDOW:
            self._learned, self._untold, self._disregarded = None, 0, 0.0
        elif not self._disregards(ended) and not self._is_too_early(ended):
            ended.linger = min(ended.ended - ended.began, LONGEST_LINGER)
            self._learned = ended
        else:
            self.epoch = ended.goes_on = Epoch(self.epoch.began, ended)

    def _is_too_early(self, ended: Epoch) -> bool:
        """Whether an epoch is no evidence; of two running that end early, the second is, unless by a stray refusal."""
        few = ended.sent - ended.refused < TOO_FEW
        too_early = few or (ended.early and (ended.stray or not self._was_early))
        self._was_early = too_early and ended.early
        return too_early

    def _disregards(self, ended: Epoch) -> bool:
        """Whether refusals seem not to follow the rate, since they come early whatever it is."""
        if not self._learned or ended.sent - ended.refused < TOO_FEW:
            return False
        lone = ended.stray or ended.latest_refused <= 1
        untold = ended.stray or (ended.early and lone)
        self._untold = self._untold + 1 if untold else max(0, self._untold - 1)
        self._lengths.append(ended.length)
        if len(self._lengths) < UNTOLD:
            return self._disregarded > 0 and lone
        mean = sum(self._lengths) / UNTOLD
        if not self._disregarded:
            if self._untold >= UNTOLD:
                self._disregarded = mean
                self._lengths.clear()
        elif not lone or mean < self._disregarded / DENSER:
            self._disregarded, self._untold = 0.0, 0
            return ended.stray
        return self._disregarded > 0

    def _asked(self, now: float) -> float:
        """Requests a second that have been sent of late, if that can be told; without a rate as fast as they came."""
        rate = self.rate
        if rate is None:
            return math.inf
        span = now - self._recent[0]
        return rate if span < RECENT_SECONDS / 2 else min(rate, len(self._recent) / span)
