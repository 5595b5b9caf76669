"""How long a run still takes: what its slowest step has yet to do, at the rate at which that step works.

Rows that ended say little of it: most are dropped by the first step, which is quick. So each step is looked at by
itself. Yet to do are the rows before it, scaled by what the steps between pass on, and those that wait for it. Its rate
is taken over the time in which it had something in hand; a quick step that waits for room behind a slow one is not slow
itself.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

SETTLED = 20
"""Outcomes of the slowest step, before which nothing is said."""
RECENT_SECONDS, RECENT_OUTCOMES = 600.0, 300
"""A rate is that of the last ten minutes, or, of a step so slow that this would be chance, of so many outcomes."""
MARK_SECONDS = 10.0
"""Between two points that a rate can be taken from."""
STILL_SECONDS = 60.0
"""A step that has brought nothing for so long, or for twice what a row takes there if that is longer, does not move."""


class Step(NamedTuple):
    """One step since this start; ``seconds``: how long a row takes there on average."""

    pending: int
    """Rows that stood before it when the run was started."""
    passed: int
    ended: int
    """Rows dropped or failed here."""
    share: float
    """Of the rows that end here or go on, those that go on."""
    busy: bool
    seconds: float

    @property
    def outcomes(self) -> int:
        """Rows that it has nothing more to do with."""
        return self.passed + self.ended


class _Mark(NamedTuple):
    at: float
    active: float
    outcomes: int


class _Clock:
    """Seconds in which one step had something in hand, and what it got through in them."""

    def __init__(self, at: float, outcomes: int) -> None:
        self.active = 0.0
        self.moved = 0.0
        """``active`` at the last outcome."""
        self._at = at
        self._outcomes = outcomes
        self._marks = deque([_Mark(at, 0.0, outcomes)])

    def note(self, at: float, step: Step) -> None:
        if step.busy:
            self.active += at - self._at
        if step.outcomes > self._outcomes:
            self.moved = self.active
        self._at, self._outcomes = at, step.outcomes
        marks = self._marks
        if step.outcomes > marks[-1].outcomes and at - marks[-1].at >= MARK_SECONDS:
            marks.append(_Mark(at, self.active, step.outcomes))
        while (
            len(marks) > 1
            and at - marks[1].at >= RECENT_SECONDS
            and (step.outcomes - marks[1].outcomes >= RECENT_OUTCOMES)
        ):
            marks.popleft()

    @property
    def seconds_each(self) -> float:
        """Seconds from one outcome to the next, lately; before the first one, at least so many."""
        since = self._marks[0]
        return (self.active - since.active) / max(1, self._outcomes - since.outcomes)


class Remaining:
    """The estimate of one run; ``note`` its steps about once a second, all of them in order."""

    def __init__(self, at: float, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._clocks = [_Clock(at, step.outcomes) for step in steps]

    def note(self, at: float, steps: Sequence[Step]) -> None:
        """How the steps stand at a moment (seconds)."""
        self._steps = steps
        for clock, step in zip(self._clocks, steps, strict=True):
            clock.note(at, step)

    def seconds(self, new: int) -> float | None:
        """Seconds left, with so many rows of the input ``new`` to this run; ``None`` where that cannot be told."""
        coming, longest, slowest = float(new), 0.0, None
        for step, clock in zip(self._steps, self._clocks, strict=True):
            left = max(0.0, coming + step.pending - step.outcomes)
            if left and (takes := left * clock.seconds_each) >= longest:
                longest, slowest = takes, (step, clock)
            coming = left * step.share + step.passed
        if slowest is None:
            return 0.0
        step, clock = slowest
        still = clock.active - clock.moved > max(STILL_SECONDS, 2 * step.seconds)
        return None if still or step.outcomes < SETTLED else longest
