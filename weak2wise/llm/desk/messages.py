"""What a host and the desk say to each other: one report and one reply at each visit.

A request and a reservation of money are called by a number that the host gives them, never twice.
"""

from msgspec import Struct

from weak2wise.errors import Cause, Kind, RunStopped


class Said(Struct, array_like=True, tag=True):
    """Anything that is said; a short form, as there are many."""


class Want(Said):
    """A request waits for a slot of its endpoint's limits, and for its money; or, without ``slot``, for money alone.

    Tokens of its prompt (about), the longest answer, and the most US dollars that it may cost. ``divisible``: as in
    ``Reservation``.
    """

    number: int
    endpoint: str
    usd: float
    slot: bool = False
    role: str = ""
    prompt_tokens: float = 0.0
    longest: float = 0.0
    divisible: bool = False


class Withdrawn(Said):
    """It is not wanted any more. If it was granted in the meantime, the host gives it back."""

    number: int


class Answered(Said):
    """A whole answer arrived that used this many tokens."""

    number: int
    tokens: int


class Refused(Said):
    """A 429 arrived, perhaps with the seconds after which to try again."""

    number: int
    retry_after: float | None


class Quota(Said):
    """How many requests and tokens remain, each with the seconds until that resets."""

    number: int
    requests: tuple[float, float] | None
    tokens: tuple[float, float] | None


class Over(Said):
    """A request is over; what it used, as far as is known."""

    number: int
    tokens: int


class Insisted(Said):
    """Money is reserved for what was sent by an earlier start."""

    number: int
    endpoint: str
    usd: float


class Paid(Said):
    """US dollars that are spent."""

    usd: float


class Returned(Said):
    """A reservation of money is over."""

    number: int


class Noted(Said):
    """A call for a role succeeded (``kind`` is ``None``) or failed, with what message."""

    role: str
    kind: Kind | None
    last: str


Event = Want | Withdrawn | Answered | Refused | Quota | Over | Insisted | Paid | Returned | Noted


class Report(Said):
    """What happened on a host since its last visit, in order."""

    host: str
    events: list[Event]


class Stop(Said):
    """A ``RunStopped``, to be raised by another process."""

    text: str
    hint: str
    same_command: bool
    cause: Cause

    @classmethod
    def of(cls, error: RunStopped) -> "Stop":
        """The same as a message."""
        return cls(str(error), error.hint, error.same_command, error.cause)

    def error(self) -> RunStopped:
        """The error."""
        return RunStopped(self.text, hint=self.hint, same_command=self.same_command, cause=self.cause)


class LimitState(Said):
    """How a limit stands: requests in flight at most, requests a second, and seconds of pause."""

    size: int
    rate: float | None
    pause: float


class Reply(Said):
    """What the desk answers.

    Attributes:
        granted: numbers that may be sent, or whose money is reserved.
        unreserved: numbers of divisible reservations that can never be reserved as a whole.
        limits: by endpoint.
        spent: US dollars, by all hosts and earlier starts.
        exhausted: set while no call can be sent under the cap.
        stops: by kind of role: too many of its calls failed.
        tick: seconds until the next visit.
        lost: the host has been given up; nothing is granted to it any more.
    """

    granted: list[int] = []
    unreserved: list[int] = []
    limits: dict[str, LimitState] = {}
    spent: float = 0.0
    exhausted: Stop | None = None
    stops: dict[str, Stop] = {}
    tick: float = 0.0
    lost: bool = False
