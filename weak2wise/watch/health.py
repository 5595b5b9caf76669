"""Whether a run is well, and if not, why: what ``/healthz`` says.

Everybody may read it, so it names neither endpoints nor folders, and no sums of money.
"""

from msgspec import Struct

from weak2wise.watch.board import Board
from weak2wise.watch.vitals import Disk, Vitals

MAX_LOOP_LAG = 5.0
"""Seconds that the event loop may be late and still count as healthy."""
FROZEN_SECONDS = 1800.0
"""How long an embedded engine with calls in it may answer none; after twice that time it is restarted."""


class Health(Struct, frozen=True, omit_defaults=True):
    """What it says.

    ``state``: ``starting``, ``running``, ``waiting``, ``late``, ``frozen``, ``disk_full``, ``ended`` or ``closing``;
    ``reason`` in words. ``lag``: seconds that the event loop is late. ``quiet``: seconds since anything was answered or
    got on.
    """

    ok: bool
    state: str
    lag: float = 0.0
    reason: str = ""
    quiet: float | None = None


STARTING = Health(True, "starting", reason="the run is being opened; a model may be loading")
CLOSING = Health(False, "closing", reason="the run is over, and its page closes")


def health_of(vitals: Vitals, board: Board, lag: float, disk: Disk | None) -> Health:
    """The health of a run that is open; ``disk`` is ``None`` if the disk does not answer."""

    def health(state: str, reason: str = "", *, ok: bool = True) -> Health:
        return Health(ok, state, round(lag, 3), reason, round(vitals.quiet, 1))

    if board.ending:
        return health("ended", "the run is over")
    if lag >= MAX_LOOP_LAG:
        return health("late", f"the event loop is {lag:.0f} s late: the machine is too busy", ok=False)
    if disk is None:
        return health("disk_full", "the disk of the work_dir does not answer", ok=False)
    if disk.full:
        room = f"{disk.free >> 20:,} MiB and {disk.files:,} files"
        return health("disk_full", f"the disk of the work_dir is full: there is room for {room}", ok=False)
    if frozen := [silent for engine in board.engines if (silent := vitals.silent(engine.name)) > FROZEN_SECONDS]:
        long = f"{max(frozen) / 60:,.0f} minutes"
        return health("frozen", f"an embedded engine has answered none of its calls for {long}", ok=False)
    waits = waits_of(vitals, board)
    return health("waiting" if waits else "running", "; ".join(waits.values()))


def waits_of(vitals: Vitals, board: Board) -> dict[str, str]:
    """What the run waits for through no fault of its own, by kind (``batch``, ``off_peak``, ``outage``), in words."""
    found = {}
    if count := vitals.in_batches():
        found["batch"] = f"{count:,} requests wait for batches at their provider"
    if held := sum(endpoint.held for endpoint in board.endpoints):
        until = max((endpoint.held_until for endpoint in board.endpoints if endpoint.held_until), default=None)
        found["off_peak"] = f"{held:,} calls wait for off-peak prices" + (f", until {until:%H:%M}" if until else "")
    if down := [endpoint.down for endpoint in board.endpoints if endpoint.down is not None]:
        found["outage"] = f"an endpoint has not answered for {max(down):,.0f} s; it is asked again"
    return found
