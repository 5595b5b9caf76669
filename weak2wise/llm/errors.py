"""What can go wrong at an endpoint, named once.

An endpoint turns every status code, exception and malformed body into one of these, so that nobody above it
reads status codes or message texts:

===============  =========================================================  ==========================
type             for example                                                who deals with it
===============  =========================================================  ==========================
``Transient``    5xx, reset, time-out, broken off or senseless body         retried in place
``RateLimited``  429                                                        the limiter pauses, then retried
``Down``         no reply for longer than calls are to wait                 condemns the one record
``Rejected``     400, context overflow, prompt refused                      condemns the one record
``Unusable``     401, 402, 403, 404, unknown model                          stops the run
===============  =========================================================  ==========================
"""

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.model import Usage


class ModelError(RecordError):
    """A call that gave no answer; left uncaught it condemns the record that asked.

    ``usage`` is what the endpoint says it took all the same: it will be charged. Where it says nothing, ``characters``
    tells how much of an answer had arrived; none, and it is not known whether there is anything to charge.
    """

    usage: Usage | None = None
    characters: int = 0


class Transient(ModelError):
    """May well succeed if asked again; not before ``retry_after`` seconds, if the endpoint said so."""

    may_pass = True
    retry_after: float | None = None


class RateLimited(ModelError):
    """The endpoint asks for patience; ``retry_after`` in seconds, if it said how long."""

    may_pass = True

    def __init__(self, message: str, *, endpoint: str, retry_after: float | None) -> None:
        super().__init__("rate_limited", message, endpoint=endpoint)
        self.retry_after = retry_after


class Down(ModelError):
    """Nothing was sent: the endpoint has not answered for longer than calls are to wait for it."""

    may_pass = True

    def __init__(self, message: str, *, endpoint: str) -> None:
        super().__init__("endpoint_down", message, endpoint=endpoint)


class Rejected(ModelError):
    """Asking the same again would be refused the same way."""


class Unusable(RunStopped):
    """Every call to this endpoint would fail until the user changes something."""
