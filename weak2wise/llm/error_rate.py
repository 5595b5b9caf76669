"""Stops a run that only wastes money because nearly all calls for one role fail.

Failures are counted per endpoint, and the run continues as long as one endpoint of the role works: a dead strong model,
however fast it fails, must not stop the others. Calls are counted after their retries. An empty answer counts as a
failure, since it is paid for; it is still returned, and the share of failures is checked before the next call. A prompt
that is too long for the model does not count as a failure of its endpoint.
"""

from collections import Counter, deque

from weak2wise.errors import Kind, RecordError, RunStopped
from weak2wise.llm.model import Completion, Model, Prompt

WINDOW = 100
"""The number of latest calls that count; nothing is decided before there are so many."""


class Recent:
    """The kinds of failure among the last ``WINDOW`` calls or records."""

    def __init__(self) -> None:
        self.kinds: Counter[Kind] = Counter()
        self._last: deque[Kind | None] = deque()

    def note(self, kind: Kind | None) -> None:
        """Add one that failed with this kind of error; ``None``: it succeeded."""
        self._last.append(kind)
        gone = self._last.popleft() if len(self._last) > WINDOW else None
        if kind:
            self.kinds[kind] += 1
        if gone:
            self.kinds[gone] -= 1

    @property
    def failed(self) -> int:
        """How many failed; 0 before there are ``WINDOW``."""
        return self.kinds.total() if len(self._last) == WINDOW else 0

    def stop(self, what: str, last: str) -> RunStopped:
        """The error that stops the run; ``what`` names what failed."""
        (kind, _), *_ = self.kinds.most_common(1)
        return RunStopped(
            f"{self.failed} of the last {WINDOW} {what} failed, most of them for {kind}; the last one: {last}",
            hint="Fix what fails (run.log has more), or raise engine.max_error_rate.",
        )


class ErrorRate:
    """The failures of each endpoint of one ``role``. The run stops if all of them exceed the share ``most``."""

    def __init__(self, role: str, most: float) -> None:
        self._role = role
        self._most = most
        self._endpoints: list[Watched] = []

    def watch(self, model: Model) -> Model:
        """The same model, as an endpoint of this role whose calls are counted."""
        watched = Watched(model, self)
        self._endpoints.append(watched)
        return watched

    def check(self, failing: "Watched") -> None:
        """Check the share of failures: after a failure, and before a call.

        Raises:
            RunStopped: too many calls failed.
        """
        if all(endpoint.recent.failed > self._most * WINDOW for endpoint in self._endpoints):
            raise failing.recent.stop(f"calls for the role {self._role!r}", failing.last)


class Watched:
    """A ``Model`` that counts the kinds of failure among its last calls."""

    def __init__(self, model: Model, rate: ErrorRate) -> None:
        self.recent = Recent()
        self.last = ""
        """The message of the last failure."""
        self._model = model
        self._rate = rate

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does. Raises what it raises, or ``RunStopped`` if too many failed."""
        self._rate.check(self)
        try:
            completion = await self._model.complete(prompt)
        except RecordError as error:
            if error.kind != "context_overflow":
                self.last = str(error)
                self.recent.note(error.kind)
                self._rate.check(self)
            raise
        if completion.says_nothing:
            self.last = f"an empty answer (finish_reason {completion.finish_reason})"
        self.recent.note("empty" if completion.says_nothing else None)
        return completion
