"""The request rate that a provider allows, learned from its refusals (429s).

Time is divided into epochs. Each ends with a refusal and the pause that it asks for. Two numbers bound the provider's
rate, whatever window the provider counts in:

- Lower: the accepted requests of an epoch, divided by its length with the pause. A burst of 6,000 requests in four
  seconds and a pause of a minute are 100 a second.
- Upper: how fast requests were sent when one was refused.

The learned rate lies between the two. The next epoch starts a little below it and returns to it in about the time that
the last epoch took. It stays near it for a while (the plateau), then exceeds it faster and faster: the cubic of TCP
CUBIC, by requests sent instead of by time. So a limit that was raised, or learned wrongly, is found again.

Some refusals have nothing to do with the rate: an overloaded upstream, a limit on requests in flight, a daily quota.
Cutting the rate for them, again and again, would only make everything slow. They are recognised in three ways:

- A refusal is *stray* if the requests sent right after it were accepted. If it ends an epoch early, nothing is learned.
- From a single epoch that ends early without that, nothing is learned either.
- If refusals keep coming early, however far the rate was cut, they are *disregarded*: after its pause an epoch
  continues, faster and faster, until that makes refusals more frequent.

After a pause longer than any provider's window the learned rate is forgotten. A configured rate is a ceiling.
"""

import math
from collections import deque

CUT = 0.04
"""An epoch begins this share below the learned rate."""
UPPER_WEIGHT = 0.7
"""The upper bound's weight. It is the better one: the lower one's pause is often rounded up to whole seconds."""
STRAY_FLOOR = 0.98
"""Share of the refused rate that is kept after a stray refusal: the rate is hardly too high."""
RECENT_SECONDS = 2.0
"""The sending rate is measured over this time; the shortest window that providers count in is a second."""
SHARE_OF_CONFIGURED = 0.98
"""Requests sent evenly still arrive unevenly, so a server that counts by the second would refuse some."""
SHORTEST_RETURN = 400
"""Requests sent before the learned rate is reached again, at least. So at most one in this many is refused."""
LONGEST_PLATEAU, LONGEST_RETURN = 60.0, 150.0
"""Seconds until the learned rate is reached again. Providers count by the minute, so a longer plateau is no safer; slow
endpoints need the second bound."""
FEWEST_REQUESTS = 20
"""An epoch with fewer accepted requests continues after its pause."""
SLACK_SECONDS = 0.02
"""Time lost by waking up late that may be caught up."""
FOLLOWERS = 4
"""Requests sent between a refused one and its 429. With fewer, the cause of the refusal is not known."""
STRAY_SHARE = 0.05
"""Share of the followers that may be refused too if the refusal is stray; with 20 or more, one in addition."""
UNRELATED = 4
"""With this many more refusals that are stray, or single and early, than others, refusals are disregarded."""
DENSER = 2
"""Refusals that become this many times as frequent as when they were first disregarded depend on the rate."""
LONGEST_WINDOW = 90.0
"""Seconds; providers count requests per minute or per second."""


class Epoch:
    """What was sent from one refusal to the next. Times are monotonic seconds, rates are requests a second."""

    def __init__(self, began: float, before: "Epoch | None" = None) -> None:
        """``before``: the same epoch until its last pause; its counts continue here."""
        self.began: float = before.began if before else began
        self.sent: int = before.sent if before else 0
        self.refused: int = before.refused if before else 0
        self._before = self.sent, self.refused
        self.followers = 0
        self.ended = began
        self.sending_rate = math.inf
        self.early = False
        self.plateau = 0.0
        self.continued_by: Epoch | None = None

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
        """Whether almost none of the requests sent before the refusal was known were refused too."""
        allowed = STRAY_SHARE * self.followers + (self.followers >= 1 / STRAY_SHARE)
        return self.followers >= FOLLOWERS and self.latest_refused - 1 <= allowed

    @property
    def rate(self) -> float:
        """The allowed rate, in requests a second, as estimated from this epoch, which has ended.

        The accepted requests give a lower bound: the epoch began below the limit and includes the pause. The rate that
        was refused is an upper bound; an epoch that ended early was too short to measure it.
        """
        lower = (self.sent - self.refused) / max(self.ended - self.began, 1e-3)
        if self.early or self.sending_rate == math.inf:
            return min(lower, self.sending_rate)
        between = UPPER_WEIGHT * self.sending_rate + (1 - UPPER_WEIGHT) * lower
        return max(between, STRAY_FLOOR * self.sending_rate) if self.stray else between


class AdaptiveRate:
    """The rate for one provider; unlimited until the first refusal."""

    def __init__(self, now: float, configured: float | None = None) -> None:
        """``configured``: requests a second that are never exceeded."""
        self.epoch = Epoch(now)
        self.resumes_at = now
        self._ceiling = math.inf if configured is None else SHARE_OF_CONFIGURED * configured
        self._learned: Epoch | None = None
        self._ended: Epoch | None = None
        """The last epoch. It is evaluated after its pause, since more of its requests may be refused until then."""
        self._pausing: Epoch | None = None
        self._was_early = False
        self._unrelated = 0
        self._lengths: deque[int] = deque(maxlen=UNRELATED)
        self._disregarded = 0.0
        """Mean requests between two refusals when refusals were first disregarded; 0 if they are not."""
        self._refused_at = now
        self._next_at = 0.0
        self._share_held_back = 1.0
        self._recent: deque[float] = deque()

    @property
    def rate(self) -> float | None:
        """Requests a second that may be sent now; ``None`` if no limit is known."""
        if self._learned is None:
            return None if self._ceiling == math.inf else self._ceiling
        progress = self.epoch.sent / self._return_length(self._learned)
        return min(self._ceiling, self._learned.rate * (1 + CUT * (progress - 1) ** 3))

    @staticmethod
    def _return_length(learned: Epoch) -> float:
        """How many requests it takes to return to the learned rate."""
        return min(
            max(SHORTEST_RETURN, learned.rate * learned.plateau), max(FEWEST_REQUESTS, learned.rate * LONGEST_RETURN)
        )

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent; 0 or less: now."""
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
            self._share_held_back += ((now - self._next_at < SLACK_SECONDS) - self._share_held_back) / FEWEST_REQUESTS
            self._next_at = max(self._next_at, now - SLACK_SECONDS) + 1 / rate
        return self.epoch

    def idled(self, since: float, until: float) -> None:
        """Nothing was to be sent from ``since`` to ``until``, so this time does not count for the rate."""
        self.epoch.began += max(0.0, until - max(since, self.epoch.began))

    def refused(self, epoch: Epoch) -> None:
        """A request of an epoch was refused, perhaps long after that epoch ended."""
        part: Epoch | None = epoch
        while part:
            part.refused += 1
            part = part.continued_by

    def end_epoch(self, now: float, until: float, followers: int = 0) -> None:
        """A request was refused, with a pause ``until`` then; ``followers`` requests were sent after it."""
        ended = self.epoch
        if ended.sent > ended.refused:  # else the last pause was too short
            ended.sending_rate, ended.followers = self._sending_rate(now), followers
            if self._learned:
                # If the rate did not hold requests back, the refusal has another cause, or the limit is lower.
                returned = ended.sent >= self._return_length(self._learned) / 2
                ended.early = not returned or self._share_held_back < 0.5
            self._ended = self._pausing = ended
            self._refused_at = now
        self._pause(until)

    def prolong(self, until: float) -> None:
        """Make the pause longer, unless something was sent since."""
        if not self.epoch.sent:
            self._pause(until)

    def _pause(self, until: float) -> None:
        """Begin the next epoch at that time."""
        self.resumes_at = until
        self.epoch = Epoch(until)
        if self._pausing:
            self._pausing.ended = until

    def _learn(self, ended: Epoch) -> None:
        """Learn the rate from an epoch whose pause is over, or continue that epoch."""
        self._pausing = None
        if ended.ended - self._refused_at > LONGEST_WINDOW:
            self._learned, self._unrelated, self._disregarded = None, 0, 0.0
        elif not self._disregards(ended) and not self._is_too_early(ended):
            ended.plateau = min(ended.ended - ended.began, LONGEST_PLATEAU)
            self._learned = ended
        else:
            self.epoch = ended.continued_by = Epoch(self.epoch.began, ended)

    def _is_too_early(self, ended: Epoch) -> bool:
        """Whether an epoch ended too early to learn from.

        The second of two in a row that end early does count, unless a stray refusal ended it.
        """
        few = ended.sent - ended.refused < FEWEST_REQUESTS
        too_early = few or (ended.early and (ended.stray or not self._was_early))
        self._was_early = too_early and ended.early
        return too_early

    def _disregards(self, ended: Epoch) -> bool:
        """Whether refusals do not depend on the rate, as they come early whatever it is."""
        if not self._learned or ended.sent - ended.refused < FEWEST_REQUESTS:
            return False
        single = ended.stray or ended.latest_refused <= 1
        unrelated = ended.stray or (ended.early and single)
        self._unrelated = self._unrelated + 1 if unrelated else max(0, self._unrelated - 1)
        self._lengths.append(ended.length)
        if len(self._lengths) < UNRELATED:
            return self._disregarded > 0 and single
        mean = sum(self._lengths) / UNRELATED
        if not self._disregarded:
            if self._unrelated >= UNRELATED:
                self._disregarded = mean
                self._lengths.clear()
        elif not single or mean < self._disregarded / DENSER:
            self._disregarded, self._unrelated = 0.0, 0
            return ended.stray
        return self._disregarded > 0

    def _sending_rate(self, now: float) -> float:
        """Requests a second sent lately, at most the current rate, or that rate if it is too early to measure.

        Infinity if there is no rate.
        """
        rate = self.rate
        if rate is None:
            return math.inf
        span = now - self._recent[0]
        return rate if span < RECENT_SECONDS / 2 else min(rate, len(self._recent) / span)
