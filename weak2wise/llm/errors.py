"""The errors of an endpoint.

An endpoint turns every status code, exception and malformed body into one of these, so that no caller has to read
status codes or messages:

===============  =========================================================  ==========================
type             for example                                                what happens
===============  =========================================================  ==========================
``Transient``    5xx, reset, time-out, incomplete or malformed body         retried in place
``RateLimited``  429                                                        the limiter pauses, then retried
``NoCapacity``   498, 429 of a lane that is full                            the same, or sent in the ordinary lane
``Down``         no reply for longer than calls may wait                    fails this record
``Rejected``     400, context overflow, prompt refused                      fails this record
``Unusable``     401, 402, 403, 404, unknown model                          stops the run
===============  =========================================================  ==========================
"""

from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.model import Usage


class ModelError(RecordError):
    """A call that gave no answer. If it is not caught, the record that made the call fails.

    ``usage`` is what the endpoint reports that it used anyway, and will charge. If it reports none, ``characters`` is
    how much of an answer had arrived. ``unheard``: the request was sent, but the connection was lost or the time was
    over before anything of an answer came, so it may be charged. ``status``: of HTTP, if that is what it was.
    """

    status: int | None = None
    usage: Usage | None = None
    characters: int = 0
    unheard: bool = False


class Transient(ModelError):
    """A retry may succeed, after ``retry_after`` seconds if the endpoint gave them."""

    may_pass = True
    retry_after: float | None = None


class RateLimited(ModelError):
    """The endpoint asks for a pause, of ``retry_after`` seconds if it gave them."""

    may_pass = True

    def __init__(self, message: str, *, endpoint: str, retry_after: float | None) -> None:
        super().__init__("rate_limited", message, endpoint=endpoint)
        self.retry_after = retry_after


class NoCapacity(RateLimited):
    """The lane has no room at present, whatever was asked before. It is not charged."""


class Down(ModelError):
    """Nothing was sent: the endpoint has been down for longer than calls may wait."""

    may_pass = True

    def __init__(self, message: str, *, endpoint: str) -> None:
        super().__init__("endpoint_down", message, endpoint=endpoint)


class Rejected(ModelError):
    """The same request would be refused again."""


class Unusable(RunStopped):
    """Every call to this endpoint would fail until the user changes something.

    ``status``, ``usage`` and ``characters`` as of ``ModelError``: it may come in the middle of an answer.
    """

    status: int | None = None
    usage: Usage | None = None
    characters: int = 0
