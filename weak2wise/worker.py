"""The contract between the engine and the method: what a record is, and what a worker does with it."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from weak2wise.errors import RecordError


class Record(Protocol):
    """What travels through the pipeline. It knows its input row, and a title by which a person recognises it."""

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
        """The question, or another text that names the record for people."""
        ...


class Drop(Struct, frozen=True):
    """A worker's result for a record that the method does not use.

    ``reason`` is a short stable word; ``detail`` says more about this record.
    """

    reason: str
    detail: str = ""


T = TypeVar("T")


@dataclass(frozen=True)
class Partial(Generic[T]):
    """An incomplete record and the error that is the reason; it is used where trying again would not help.

    ``worthless``: it counts as failed for ``engine.max_error_rate``.
    """

    record: T
    because: RecordError
    worthless: bool = False


In_contra = TypeVar("In_contra", bound=Record, contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Worker(Protocol[In_contra, Out_co]):
    """One step of the method: one record in, at most one out. It knows nothing about queues, files or retries."""

    async def __call__(self, record: In_contra, /) -> Out_co | Partial[Out_co] | Drop:
        """Turn a record into the next, or drop it. Raises ``RecordError`` or ``RunStopped``."""
        ...
