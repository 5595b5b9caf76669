"""A run on three nodes of a Ray cluster: the bytes of one machine, while hosts and the driver are killed and frozen."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.machines import (
    KEY,
    actor_pids,
    cluster_of,
    ended,
    freeze_while_a_host_answers,
    host_pids,
    kill,
    parts_over,
    session_of,
    start,
    state_of,
    wait_until,
    without_a_node,
    write_cluster_run,
)
from tests.engine_runs import save
from tests.loopback import Fault, LoopbackProcess, Match

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
ROWS = 60


@pytest.fixture(scope="module")
def cluster() -> "Iterator[Cluster]":
    with cluster_of(3) as three:
        yield three


@pytest.fixture(scope="module")
def address(cluster: "Cluster") -> str:
    return str(cluster.address)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The training data of the same run on one machine."""
    folder = tmp_path_factory.mktemp("calm")
    with LoopbackProcess() as server:
        write_cluster_run(folder, server.base_url, ROWS, in_flight=8)
        ended(start(folder, None), 0)
    return (folder / "out.jsonl").read_bytes()


@contextmanager
def started(
    folder: Path, address: str, *, latency: float, in_flight: int
) -> "Iterator[tuple[LoopbackProcess, subprocess.Popen[str]]]":
    """A run, and its server, which refuses more requests at once than the run may send."""
    with LoopbackProcess(latency=latency, max_in_flight=in_flight) as server:
        write_cluster_run(folder, server.base_url, ROWS, in_flight=in_flight)
        with start(folder, address) as process:
            try:
                yield server, process
            finally:  # one that a failed test left would keep the hosts from the runs of the next
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def answered(server: LoopbackProcess) -> int:
    return sum(count.answered for count in server.stats().models.values())


def asked_again(server: LoopbackProcess) -> int:
    """Requests beyond one for each call."""
    return sum(count.asked - 1 for count in server.requests().values())


def test_three_nodes_make_the_bytes_of_one_machine_and_nothing_is_refused(
    tmp_path: Path, cluster: "Cluster", calm: bytes
) -> None:
    address = cluster.address
    with started(tmp_path, address, latency=0.2, in_flight=8) as (server, process):
        ended(process, 0)
        counts = server.stats().models
        assert asked_again(server) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == calm
    assert not any(count.failed for count in counts.values())
    logs = [path.read_text() for path in (tmp_path / "work" / "parts").glob("*/epoch-*/run.log")]
    assert len(logs) == ROWS / 5
    state = state_of(address)
    assert "EngineHost" in state
    assert KEY not in state
    shown = [path for path in session_of(cluster).rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert shown == [], "the key is in Ray's logs"
    assert all(KEY not in text for text in logs)


def test_a_host_that_is_killed_or_frozen_past_its_lease_changes_no_byte(
    tmp_path: Path, address: str, calm: bytes
) -> None:
    with started(tmp_path, address, latency=0.3, in_flight=8) as (server, process):
        wait_until(lambda: answered(server) > 20 and len(host_pids()) == 3)
        killed, frozen, _ = host_pids()
        kill(killed)
        kill(frozen, signal.SIGSTOP)
        time.sleep(14)
        kill(frozen, signal.SIGCONT)
        ended(process, 0)
        counts = server.stats().models
        assert asked_again(server) <= 5 * 8, "at most what was in flight at the five models"
    assert (tmp_path / "out.jsonl").read_bytes() == calm
    assert max(count.max_in_flight for count in counts.values()) <= 8


def test_a_node_that_is_killed_and_leaves_an_orphan_changes_no_byte(
    tmp_path: Path, cluster: "Cluster", calm: bytes
) -> None:
    """Ray notices after about 14 seconds; the orphan goes on with its parts until then."""
    with started(tmp_path, cluster.address, latency=0.7, in_flight=4) as (server, process):
        wait_until(lambda: answered(server) > 20 and len(host_pids()) == 3)
        with without_a_node(cluster):
            ended(process, 0)
        counts = server.stats().models
        assert asked_again(server) <= 8, "at most what was in flight at the kill, and when the orphan's lease lapsed"
    assert "holder.lost" in (tmp_path / "work" / "run.log").read_text()
    assert (tmp_path / "out.jsonl").read_bytes() == calm
    assert max(count.max_in_flight for count in counts.values()) <= 4


def test_a_driver_that_was_frozen_past_the_leases_goes_on_with_the_same_hosts_and_asks_nothing_again(
    tmp_path: Path, cluster: "Cluster", calm: bytes
) -> None:
    with started(tmp_path, cluster.address, latency=0.7, in_flight=4) as (server, process):
        wait_until(lambda: answered(server) > 20 and len(host_pids()) == 3)
        hosts = host_pids()
        freeze_while_a_host_answers(process, hosts)
        time.sleep(13)
        before = answered(server)
        time.sleep(2)
        assert answered(server) == before, "hosts that hear nothing send nothing"
        os.killpg(process.pid, signal.SIGCONT)
        wait_until(lambda: answered(server) > before)
        assert host_pids() == hosts
        ended(process, 0)
        assert asked_again(server) == 0
    assert "holder.lost" not in (tmp_path / "work" / "run.log").read_text()
    assert (tmp_path / "out.jsonl").read_bytes() == calm


def test_a_run_whose_desk_is_lost_stops_and_the_same_command_goes_on(
    tmp_path: Path, cluster: "Cluster", calm: bytes
) -> None:
    with started(tmp_path, cluster.address, latency=0.2, in_flight=8) as (server, process):
        wait_until(lambda: answered(server) > 20)
        (desk,) = actor_pids("DeskActor")
        kill(desk)
        assert "the desk of the cluster is lost" in ended(process, 3)
        ended(start(tmp_path, cluster.address), 0)
        assert asked_again(server) <= 8
    assert (tmp_path / "out.jsonl").read_bytes() == calm


def test_a_driver_that_is_killed_is_resumed_by_the_same_command(tmp_path: Path, address: str, calm: bytes) -> None:
    with started(tmp_path, address, latency=0.2, in_flight=8) as (server, process):
        wait_until(lambda: parts_over(tmp_path) >= 2)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        ended(start(tmp_path, address), 0)
        assert asked_again(server) <= 5 * 8
    assert (tmp_path / "out.jsonl").read_bytes() == calm


def test_ctrl_c_on_the_driver_ends_all_within_ten_seconds_and_nothing_paid_is_lost(
    tmp_path: Path, address: str, calm: bytes
) -> None:
    with started(tmp_path, address, latency=0.2, in_flight=8) as (server, process):
        wait_until(lambda: parts_over(tmp_path) >= 2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert "Interrupted" in ended(process, 130, 30)
        assert time.monotonic() - began < 10
        ended(start(tmp_path, address), 0)
        assert asked_again(server) == 0, "what was in flight arrived within the time of grace"
    assert (tmp_path / "out.jsonl").read_bytes() == calm


def test_a_key_that_is_rejected_stops_all_hosts_resumably(tmp_path: Path, address: str) -> None:
    with LoopbackProcess(faults=(Fault("401", Match(model="strong-a"), times=10**6),)) as server:
        write_cluster_run(tmp_path, server.base_url, ROWS, in_flight=4)
        said = ended(start(tmp_path, address), 3)
        assert sum(count.received for count in server.stats().models.values()) < 100
    assert "HTTP 401: Incorrect API key" in said
    assert KEY not in said


def test_an_empty_budget_stops_all_hosts_and_the_cap_holds(tmp_path: Path, address: str) -> None:
    with LoopbackProcess(latency=0.1) as server:
        config = write_cluster_run(tmp_path, server.base_url, ROWS, in_flight=8)
        for endpoint in config["model_endpoints"].values():
            endpoint |= {"prices": {"input": 10.0, "output": 250.0}, "max_tokens": 1000}
        config["engine"] = {"max_cost_usd": 2.0}
        save(tmp_path, config)
        said = ended(start(tmp_path, address), 3)
    assert "engine.max_cost_usd" in said
    spent = sum(
        float(line.split('"cost_usd":')[1].split(",")[0].split("}")[0])
        for path in (tmp_path / "work" / "parts").glob("*/epoch-*/ledger/journal/*.jsonl")
        for line in path.read_text().splitlines()
        if '"cost_usd":' in line
    )
    assert 1.0 < spent <= 2.0


def test_check_asks_every_node_and_leaves_nothing_behind(tmp_path: Path, address: str) -> None:
    with LoopbackProcess() as server:
        write_cluster_run(tmp_path, server.base_url, 5, in_flight=4)
        said = " ".join(ended(start(tmp_path, address, command="check"), 0).split())
    assert said.count("can write there") == 4, said
    assert "3 hosts on 3 nodes, 0 with a GPU" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "in.jsonl"]


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_cluster_run(tmp_path, server.base_url, 5, in_flight=4)
        said = ended(start(tmp_path, "127.0.0.1:1"), 2)
    assert "--ray 127.0.0.1:1: no cluster answers there" in said
    assert "Traceback" not in said
