"""The facts of a run at one moment: one set of them for the terminal, the page and the metrics."""

from datetime import datetime

from msgspec import Struct


class StageFacts(Struct, frozen=True):
    """One stage: rows ``done``, ``dropped`` and ``failed`` in all runs.

    ``busy``: rows in work now, at most ``lanes``. ``waiting``: rows in its queue.
    """

    name: str
    done: int
    dropped: int
    failed: int
    busy: int
    lanes: int
    waiting: int
    per_minute: float


class EndpointFacts(Struct, frozen=True):
    """One HTTP endpoint in this run; its tokens and US dollars are those of all runs.

    ``down``: seconds since it stopped answering. ``paced``: allowed requests a minute, if the rate limits them and not
    ``limit``, the number in flight. ``held``: calls held back until ``held_until``, for off-peak prices.
    """

    name: str
    in_flight: int
    limit: int
    sent: int
    answered: int
    faults: dict[str, int]
    per_minute: float
    tokens_per_minute: float
    tokens: int
    cost_usd: float
    down: float | None = None
    paced: float | None = None
    held: int = 0
    held_until: datetime | None = None


class EngineFacts(Struct, frozen=True):
    """One embedded engine: attempts ``running`` in it, of at most ``room``, and ``waiting`` for it.

    ``cached``: the share of prompt tokens that came from the prefix cache.
    """

    name: str
    running: int
    room: int
    waiting: int
    answered: int
    tokens_per_second: float
    tokens: int
    cached: float


class LastFault(Struct, frozen=True):
    """The newest fault of an endpoint in this start: which endpoint, what it said, and how many seconds ago."""

    endpoint: str
    said: str
    ago: float


class Board(Struct, frozen=True):
    """The whole run. ``rows`` is ``None`` until the input has been counted; times are in seconds.

    ``ended`` is ``emitted + dropped + failed``: rows that need no more work in this run. Rows that failed in an earlier
    run and will be tried again are counted as ``to_retry``, and in a stage's ``failed`` until they are.
    ``ending`` is set when the run has ended: ``finished``, ``interrupted`` or ``stopped: reason``.
    """

    seconds: float
    rows: int | None
    ended: int
    emitted: int
    dropped: int
    failed: int
    to_retry: int
    per_minute: float
    seconds_left: float | None
    bottleneck: str | None
    cost_usd: float
    loop_lag: float
    stages: list[StageFacts]
    endpoints: list[EndpointFacts]
    engines: list[EngineFacts]
    verdicts: dict[str, int]
    bits: dict[str, int]
    ending: str | None = None
    last_fault: LastFault | None = None
