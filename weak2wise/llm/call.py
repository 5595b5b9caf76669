"""What a model is asked for: the one context of all calls that are made while a row is worked on.

A stage sets it for its row; the journal narrows it for each call (``dataclasses.replace``). It is a context variable
because the workers in between should not have to pass it on; tasks started inside inherit it.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from weak2wise.llm.drain import Drain
from weak2wise.llm.model import Usage


async def _nobody_pays(_usage: Usage) -> None:
    """For calls outside of a run."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call's context.

    Attributes:
        row: the input row that the answer belongs to.
        failures: how often the row failed at this step before. An answer that was given once is given again, from the
            journal; a draw that is to be another one is named by this, too.
        waits: whether to wait for an endpoint that is down. There is no need to where the row will be tried again.
        drain: the run's way to stop: what it may still send, and what is under way.
        charge: writes down what the call cost for an answer that cannot be used, so that the next run knows of it.
    """

    row: int = 0
    failures: int = 0
    waits: bool = True
    drain: Drain = field(default_factory=Drain)
    charge: Callable[[Usage], Awaitable[None]] = _nobody_pays


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """The call at hand; a default one outside of a run."""
    return _current.get() or Call()


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Calls made inside, and by tasks started inside, have this context."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
