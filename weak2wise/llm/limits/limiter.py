"""What an endpoint needs of its limits, wherever they are counted: on this host, or at a desk that hosts share."""

from collections.abc import Callable
from typing import Protocol

from weak2wise.llm.cost import Reservation
from weak2wise.llm.limits.call_sizes import CallSizes


def always() -> bool:
    """What is always wanted."""
    return True


class AnySlot(Protocol):
    """A slot: leave to send one request. Call ``release`` when the request is over, whatever its result."""

    tokens: int
    """What it used, as far as is known."""

    def answered(self, tokens: int) -> None:
        """A whole answer arrived that used this many tokens."""

    def refused(self, retry_after: float | None) -> bool:
        """A 429 arrived, perhaps with ``retry_after`` in seconds. Returns whether it was the first of its burst."""
        ...

    def note_quota(self, requests: tuple[float, float] | None, tokens: tuple[float, float] | None) -> None:
        """The reply reported how many requests and tokens remain, each with the seconds until that resets."""

    def release(self) -> None:
        """The request is over."""


class Limiter(Protocol):
    """The limits of one endpoint, or of several that share a key."""

    in_flight: int
    """Requests of this host."""

    @property
    def size(self) -> int:
        """How many requests may be in flight."""
        ...

    @property
    def rate_limit(self) -> float | None:
        """Requests a second that may be sent now; ``None`` if no limit is known."""
        ...

    @property
    def pause_left(self) -> float:
        """Seconds until the pause that the provider asked for is over."""
        ...

    async def acquire(
        self,
        sizes: CallSizes | None = None,
        prompt_tokens: float = 0.0,
        *,
        wanted: Callable[[], bool] = always,
        reservation: Reservation | None = None,
    ) -> AnySlot | None:
        """Wait for leave to send one request, and for its money.

        Args:
            sizes: of the requests of its kind; ``None``: of all that do not say.
            prompt_tokens: about how many its prompt has.
            wanted: whether it is still to be sent; checked when its turn comes and in ``release_unwanted``.
            reservation: what it may cost, taken when its turn has come; ``None``: nothing.

        Returns:
            ``None`` if it is no longer wanted, or its money is not free: then wait for the reservation first.
        """
        ...

    def release_unwanted(self) -> None:
        """Release the waiters that are no longer wanted; they consume no quota."""
