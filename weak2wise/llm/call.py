"""The context of the calls that are made while a row is processed.

A stage sets it for its row; the journal adapts it for each call. It is a context variable so that the workers in
between need not pass it on. Tasks started inside inherit it.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from msgspec import Struct, field

from weak2wise.llm.drain import Drain
from weak2wise.llm.model import Usage


async def _no_charge(_usage: Usage) -> None:
    """For calls outside of a run."""


class Call(Struct, frozen=True, gc=False):
    """One call's context.

    Attributes:
        row: the input row that the answer belongs to.
        failures: how often the row failed at this step before. The journal repeats the earlier answers, so a retry may
            draw more samples, in proportion to this number.
        waits: whether to wait for an endpoint that is down. Not needed if the row will be tried again.
        drain: how the run stops: whether it may still send, and what is in flight.
        charge: records the cost of an answer that cannot be used, so that later runs count it.
        role: what the call is for, as in the journal; calls of one role to one endpoint are much alike.
        key: its key in the journal.
    """

    row: int = 0
    failures: int = 0
    waits: bool = True
    drain: Drain = field(default_factory=Drain)
    charge: Callable[[Usage], Awaitable[None]] = _no_charge
    role: str = ""
    key: str = ""


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """The current call; a default one outside of a run."""
    return _current.get() or Call()


class calling:  # noqa: N801 - a context manager; one made by a generator would cost every call more
    """Calls made inside, and by tasks started inside, have this context."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = _current.set(self._call)

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._token)
