"""That it is really many: three hosts need at most 0.45 of one host's time, and each has finished parts."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.machines import cluster_of, ended, start, write_cluster_run
from tests.loopback import LoopbackProcess, read_log

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
ROWS = 1800
"""One host needs a minute and a half for them: 400 ms each, eight at once. It mostly waits, so that three do, too."""


def seconds(folder: Path, nodes: int) -> float:
    """From the first request to the last answer."""
    folder.mkdir()
    log = folder / "server.log"
    with LoopbackProcess(latency=0.4, max_in_flight=8 * nodes, log=log) as server:
        lanes = {"filter": 8}
        write_cluster_run(
            folder,
            server.base_url,
            ROWS,
            in_flight=8 * nodes,
            engine={"lanes": lanes},
            cluster={"part_rows": 20},
        )
        with cluster_of(nodes) as cluster:
            ended(start(folder, cluster.address, "run", "--up-to-step", "1"), 0)
        assert not any(count.failed for count in server.stats().models.values())
    times = [line.t for line in read_log(log)]
    return max(times) - min(times)


def leased_by(folder: Path) -> Counter[str]:
    """How many parts each host was given; it gets the next one when it has handed in the rows of the last."""
    record = (folder / "work" / "parts" / "leases").glob("*.jsonl")
    lines = [json.loads(line) for path in record for line in path.read_text().splitlines()]
    return Counter(line["holder"] for line in lines if line.get("holder"))


def test_three_hosts_need_at_most_0_45_of_the_time_of_one(tmp_path: Path) -> None:
    one, three = seconds(tmp_path / "one", 1), seconds(tmp_path / "three", 3)
    assert [*leased_by(tmp_path / "one").values()] == [ROWS / 20]
    assert len(shares := leased_by(tmp_path / "three")) == 3
    assert min(shares.values()) > 5
    assert three <= 0.45 * one, f"{three:.1f} s of {one:.1f} s"
