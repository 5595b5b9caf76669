"""The short form of ``python -m tests.run.batch_crash``: stops while batches are out, and what they may cost."""

from pathlib import Path

import pytest

from tests.run.batch_crash import BatchCrasher


@pytest.mark.slow
def test_stops_while_batches_are_out_pay_nothing_twice_and_end_with_the_same_bytes(tmp_path: Path) -> None:
    """With a provider that misbehaves; each lap's checks are in ``tests.run.batch_crash``."""
    crasher = BatchCrasher(tmp_path, questions=20, seed=1)
    counts = crasher.counts
    crasher.stop_often(6)
    while not counts.left_running:  # the moments are random
        assert counts.stops.total() < 30, "no batch was ever running at a stop"
        crasher.stop_often(counts.stops.total() + 4)
    assert counts.charged == counts.needed > 0
    assert len(counts.faults) > 5
