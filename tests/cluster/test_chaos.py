"""The short form of ``scripts/clustertest.sh``: one run on three nodes with a few kills at random."""

import random
from pathlib import Path

import pytest

pytest.importorskip("ray")

from tests.cluster.chaos import NODES, calm, one_round
from tests.cluster.machines import cluster_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_run_with_four_random_kills_makes_the_bytes_of_one_machine(tmp_path: Path) -> None:
    expected = calm(tmp_path / "calm")
    with cluster_of(NODES) as cluster:
        assert one_round(tmp_path / "kills", cluster, random.Random(0), 4, expected) == 4
