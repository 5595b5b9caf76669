"""The short form of ``scripts/crashtest.sh``: stops of every kind, cut ledger tails, and what they may cost."""

import pytest

from tests.run.crash import SIGNALS, Crasher, small_disk


@pytest.mark.slow
def test_stops_of_every_kind_lose_nothing_double_nothing_and_end_with_the_same_bytes() -> None:
    """Signals, failing and full disks, tails cut anywhere: each lap's checks are in ``tests.run.crash``."""
    with small_disk() as (folder, own):
        crasher = Crasher(folder, questions=30, seed=5, disk=own)
        crasher.stop_often(10)
    stops = crasher.counts.stops
    assert stops.total() == 10
    assert stops["SIGKILL"]
    assert stops["EIO"] + stops["ENOSPC"] + stops["full disk"]
    assert set(stops) & (SIGNALS.keys() - {"SIGKILL"})
    assert crasher.counts.cuts
    assert crasher.counts.damaged
