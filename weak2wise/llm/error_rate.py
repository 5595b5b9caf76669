"""Stops a run that only wastes money because nearly all calls for one role fail.

Failures are counted per endpoint, and the run continues as long as one endpoint of the role works: a dead strong model,
however fast it fails, must not stop the others. Calls are counted after their retries. An empty answer counts as a
failure, since it is paid for; it is still returned, and the share of failures is checked before the next call. So does
a prompt that is too long for the model: one such prompt fails alone, but where nearly all are too long, a setting is
wrong (``max_tokens``). A run that ends before it has made so many calls is judged by those that it made.
"""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from weak2wise.errors import Kind, RecordError, RunStopped
from weak2wise.llm.model import Completion, Model, Prompt

WINDOW = 100
"""The number of latest calls that count; no run is stopped before there are so many."""


class Recent:
    """The kinds of failure among the last ``WINDOW`` calls or records."""

    def __init__(self) -> None:
        self.kinds: Counter[Kind] = Counter()
        self._last: deque[Kind | None] = deque()
        self._new: deque[Kind | None] = deque(maxlen=WINDOW)

    def note(self, kind: Kind | None) -> None:
        """Add one that failed with this kind of error; ``None``: it succeeded."""
        self._last.append(kind)
        self._new.append(kind)
        gone = self._last.popleft() if len(self._last) > WINDOW else None
        if kind:
            self.kinds[kind] += 1
        if gone:
            self.kinds[gone] -= 1

    def take(self) -> list[Kind | None]:
        """Those since this was last asked for, as they were noted; at most the last ``WINDOW``."""
        new = [*self._new]
        self._new.clear()
        return new

    @property
    def failed(self) -> int:
        """How many failed; 0 before there are ``WINDOW``."""
        return self.kinds.total() if len(self._last) == WINDOW else 0

    def exceeds(self, most: float) -> bool:
        """Whether a larger share than ``most`` failed, of however many there are."""
        return self.kinds.total() > most * len(self._last)

    def said(self, what: str, last: str) -> str:
        """How many of ``what`` failed, and why."""
        (kind, _), *_ = self.kinds.most_common(1)
        return (
            f"{self.kinds.total()} of the last {len(self._last)} {what} failed, most of them for {kind}; the last one: "
            f"{last}"
        )

    def stop(self, what: str, last: str) -> RunStopped:
        """The error that stops the run; ``what`` names what failed."""
        return RunStopped(
            self.said(what, last),
            hint="Fix what fails (run.log has more), or raise engine.max_error_rate.",
        )


class SharedWindows(Protocol):
    """The latest calls of all hosts, where several work on one input."""

    def note(self, role: str, kind: Kind | None, last: str) -> None:
        """A call for this role succeeded (``None``) or failed; ``last`` is the message."""

    def stopped(self, kind: str) -> RunStopped | None:
        """The error that stops all runs, if too many calls for this kind of role failed."""


class CallsSeen(Struct, frozen=True):
    """Some calls of one role, as ``Calls.take`` gives them, to be counted somewhere else."""

    role: str
    asked: int
    answered: int
    kinds: list[Kind | None]
    last: str


class Calls:
    """The calls of one role to its endpoint, by the kinds of failure of the latest ones."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.asked = 0
        """Calls that are over; one that was cancelled has neither failed nor succeeded."""
        self.answered = 0
        """Calls that got an answer which says something."""
        self.recent = Recent()
        self.last = ""
        """The message of the last failure."""
        self._taken = 0, 0

    def take(self) -> CallsSeen:
        """What was counted since this was last asked for."""
        (asked, answered), self._taken = self._taken, (self.asked, self.answered)
        return CallsSeen(self.role, self.asked - asked, self.answered - answered, self.recent.take(), self.last)

    def add(self, seen: CallsSeen) -> None:
        """Count calls that were counted somewhere else."""
        self.asked += seen.asked
        self.answered += seen.answered
        for kind in seen.kinds:
            self.note(kind, seen.last)

    def note(self, kind: Kind | None, last: str) -> None:
        """Add a call that failed with this kind of error and message, or succeeded (``None``)."""
        self.recent.note(kind)
        if kind:
            self.last = last


class ErrorRate:
    """The failures of each endpoint of one ``role``. The run stops if all of them exceed the share ``most``.

    ``shared``: the windows of all hosts, which can stop it too.
    """

    def __init__(self, role: str, most: float, shared: SharedWindows | None = None) -> None:
        self.shared = shared
        self._role = role
        self._most = most
        self._endpoints: list[Calls] = []

    def count(self, calls: Calls) -> None:
        """Take the calls of one more endpoint of this role into account."""
        self._endpoints.append(calls)

    def watch(self, model: Model, role: str) -> Model:
        """The same model, as an endpoint of this role whose calls are counted; ``role`` is its whole name."""
        watched = Watched(model, self, role)
        self.count(watched)
        return watched

    def check(self, failing: Calls) -> None:
        """Check the share of failures: after a failure, and before a call.

        Raises:
            RunStopped: too many calls failed.
        """
        if all(endpoint.recent.failed > self._most * WINDOW for endpoint in self._endpoints):
            raise failing.recent.stop(f"calls for the role {self._role!r}", failing.last)
        if self.shared and (stop := self.shared.stopped(self._role)):
            raise stop

    def take(self) -> list[CallsSeen]:
        """The calls of its endpoints since this was last asked for."""
        return [endpoint.take() for endpoint in self._endpoints]

    def shortfalls(self) -> Iterator[str]:
        """What the role did not achieve by the end of a run, in sentences."""
        asked = [endpoint for endpoint in self._endpoints if endpoint.asked]
        if asked and all(endpoint.recent.exceeds(self._most) for endpoint in asked):
            for endpoint in asked:
                yield endpoint.recent.said(f"calls for the role {endpoint.role!r}", endpoint.last)
            return
        for endpoint in asked:
            if not endpoint.answered:
                yield (
                    f"the role {endpoint.role!r} answered none of {endpoint.asked:,} calls; the last failure: "
                    f"{endpoint.last}"
                )


class Watched(Calls):
    """A ``Model`` that counts the kinds of failure among its last calls."""

    def __init__(self, model: Model, rate: ErrorRate, role: str) -> None:
        super().__init__(role)
        self._model = model
        self._rate = rate

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does. Raises what it raises, or ``RunStopped`` if too many failed."""
        self._rate.check(self)
        try:
            completion = await self._model.complete(prompt)
        except RecordError as error:
            self.asked += 1
            self.note(error.kind, str(error))
            self._rate.check(self)
            raise
        self.asked += 1
        if completion.says_nothing:
            self.note("empty", f"an empty answer (finish_reason {completion.finish_reason})")
        else:
            self.answered += 1
            self.note(None, "")
        return completion

    def note(self, kind: Kind | None, last: str) -> None:
        """Add a call, here and among those of all hosts."""
        super().note(kind, last)
        if self._rate.shared:
            self._rate.shared.note(self.role, kind, last)
