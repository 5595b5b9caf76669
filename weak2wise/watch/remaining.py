"""Estimate of the time left: the rows that the slowest step still has to process, at the rate of that step.

The number of ended rows is a bad measure: most are dropped by the first step, which is quick. So each step is estimated
separately. Its remaining rows are those that wait for it, plus the rows of earlier steps times the share that those
steps pass on. Its rate counts only the time in which it was busy: a quick step that waits for room behind a slow one is
not slow itself.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

SETTLED = 20
"""Outcomes of the slowest step before there is an estimate."""
RECENT_SECONDS, RECENT_OUTCOMES = 600.0, 300
"""A rate is taken over the last ten minutes, or over this many outcomes for a step that has fewer in that time."""
MARK_SECONDS = 10.0
"""Least seconds between two points that a rate can start from."""
STILL_SECONDS = 60.0
"""A step has stalled if it had no outcome for so long, or for twice the time of a row there if that is longer."""


class StepProgress(NamedTuple):
    """One step in this start. ``seconds``: the average time of a row there."""

    pending: int
    """Rows whose next step this was when the run was started."""
    passed: int
    ended: int
    """Rows dropped or failed here."""
    share: float
    """The share of rows that this step passes on."""
    busy: bool
    seconds: float

    @property
    def outcomes(self) -> int:
        """Rows that this step has finished."""
        return self.passed + self.ended


class _Mark(NamedTuple):
    at: float
    active: float
    outcomes: int


class _Clock:
    """The seconds in which one step was busy, and its outcomes in that time."""

    def __init__(self, at: float, outcomes: int) -> None:
        self.active = 0.0
        self.moved = 0.0
        """``active`` at the last outcome."""
        self._at = at
        self._outcomes = outcomes
        self._marks = deque([_Mark(at, 0.0, outcomes)])

    def note(self, at: float, step: StepProgress) -> None:
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
        """Recent average seconds between two outcomes; before the first one, the busy seconds so far."""
        since = self._marks[0]
        return (self.active - since.active) / max(1, self._outcomes - since.outcomes)


class Remaining:
    """The estimate of one run. Call ``note`` about once a second, with all steps in order."""

    def __init__(self, at: float, steps: Sequence[StepProgress]) -> None:
        self._steps = steps
        self._clocks = [_Clock(at, step.outcomes) for step in steps]

    def note(self, at: float, steps: Sequence[StepProgress]) -> None:
        """Record the state of the steps at a time (seconds)."""
        self._steps = steps
        for clock, step in zip(self._clocks, steps, strict=True):
            clock.note(at, step)

    def seconds(self, new: int) -> float | None:
        """Seconds left; ``None`` if there is no estimate. ``new``: rows of the input that no earlier run has begun."""
        coming, longest, slowest = float(new), 0.0, None
        for step, clock in zip(self._steps, self._clocks, strict=True):
            left = max(0.0, coming + step.pending - step.outcomes)
            if left and (takes := left * clock.seconds_each) >= longest:
                longest, slowest = takes, (step, clock)
            coming = left * step.share + step.passed
        if slowest is None:
            return 0.0
        step, clock = slowest
        stalled = clock.active - clock.moved > max(STILL_SECONDS, 2 * step.seconds)
        return None if stalled or step.outcomes < SETTLED else longest
