"""The contract between the machinery and the method: what a record is, and what a worker does with one."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from weak2wise.errors import RecordError


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


T = TypeVar("T")


@dataclass(frozen=True)
class Partial(Generic[T]):
    """A record that is less than was asked for, and why; it is used where trying again would not help."""

    record: T
    because: RecordError


In_contra = TypeVar("In_contra", bound=Record, contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Worker(Protocol[In_contra, Out_co]):
    """One step of the method: one record in, at most one out. It knows nothing of queues, files or retries."""

    async def __call__(self, record: In_contra, /) -> Out_co | Partial[Out_co] | Drop:
        """Turn a record into the next, or drop it. Raises ``RecordError`` or ``RunStopped``."""
        ...
