"""The contract between the machinery and the method: what a record is, and what a worker does with one."""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from msgspec import Struct
from structlog.contextvars import bound_contextvars


class Record(Protocol):
    """What travels: it knows the input row it came from, and what a person would recognise it by."""

    @property
    def row(self) -> int:
        """The line number in the input, from 1."""
        ...

    @property
    def id(self) -> str | None:
        """The input's own name for it, if it has one."""
        ...

    @property
    def title(self) -> str:
        """The question, or whatever names the record to a reader."""
        ...


class Drop(Struct, frozen=True):
    """A worker's word that the method has no use for a record; ``reason`` is a short stable word."""

    reason: str


trials: ContextVar[int] = ContextVar("trials", default=0)
"""How often the record at hand was given up at this step before. An answer that was given once is given again, from the
journal; a draw that is to be another one is named by this, too."""

patient: ContextVar[bool] = ContextVar("patient", default=True)
"""Whether a call is to wait for an endpoint that is down: there is no need to while the record will be tried again."""


def telling(**facts: object) -> AbstractContextManager[None]:
    """Which call it is: whatever is logged inside says so, a retry too, and so do tasks started inside."""
    return bound_contextvars(**facts)


In_contra = TypeVar("In_contra", bound=Record, contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Worker(Protocol[In_contra, Out_co]):
    """One step of the method: one record in, at most one out. It knows nothing of queues, files or retries."""

    async def __call__(self, record: In_contra, /) -> Out_co | Drop:
        """Turn a record into the next, or drop it. Raises ``RecordError`` or ``StopRun``."""
        ...
