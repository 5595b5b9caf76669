"""Stops a run that is only burning money: nearly every call for one role fails, and goes on failing.

Each endpoint has a window of its own, and one that works keeps the role going: a dead strong model, however fast it
fails, must not stop the others. Calls are counted after their retries; an answer that says nothing is paid for and no
better than a failure. It is kept all the same: what it adds to is judged before the next call. A prompt that is too
long for a model is no failure of its endpoint.
"""

from collections import Counter, deque

from weak2wise.errors import Kind, RecordError, RunStopped
from weak2wise.llm.model import Completion, Model, Prompt

WINDOW = 100
"""Calls looked back upon; fewer say nothing."""


class Recent:
    """The kinds of failure among the last ``WINDOW`` of something."""

    def __init__(self) -> None:
        self.kinds: Counter[Kind] = Counter()
        self._last: deque[Kind | None] = deque()

    def note(self, kind: Kind | None) -> None:
        """One more, which failed for that, or ``None``."""
        self._last.append(kind)
        gone = self._last.popleft() if len(self._last) > WINDOW else None
        if kind:
            self.kinds[kind] += 1
        if gone:
            self.kinds[gone] -= 1

    @property
    def failed(self) -> int:
        """How many failed; 0 as long as there are too few to tell."""
        return self.kinds.total() if len(self._last) == WINDOW else 0

    def stop(self, what: str, last: str) -> RunStopped:
        """The word that ends the run; ``what`` has failed so often."""
        (kind, _), *_ = self.kinds.most_common(1)
        return RunStopped(
            f"{self.failed} of the last {WINDOW} {what} failed, most of them for {kind}; the last one: {last}",
            hint="Mend what fails (run.log has more), or raise engine.max_error_rate.",
        )


class ErrorRate:
    """Failures among the last calls of each endpoint of one ``role``; not all of them may pass the share ``most``."""

    def __init__(self, role: str, most: float) -> None:
        self._role = role
        self._most = most
        self._endpoints: list[Watched] = []

    def watch(self, model: Model) -> Model:
        """The same model, an endpoint of this role; its calls are counted."""
        watched = Watched(model, self)
        self._endpoints.append(watched)
        return watched

    def check(self, failing: "Watched") -> None:
        """Judge after a failure, and before a call.

        Raises:
            RunStopped: one failure too many.
        """
        if all(endpoint.recent.failed > self._most * WINDOW for endpoint in self._endpoints):
            raise failing.recent.stop(f"calls for the role {self._role!r}", failing.last)


class Watched:
    """One endpoint's calls: the kinds of failure among the last of them."""

    def __init__(self, model: Model, rate: ErrorRate) -> None:
        self.recent = Recent()
        self.last = ""
        """What the last failure said."""
        self._model = model
        self._rate = rate

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does. Raises what it raises, or ``RunStopped`` where too many failed."""
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
