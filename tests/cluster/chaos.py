"""Kill and freeze hosts, nodes and the driver of a run on a real cluster, many times; ``scripts/clustertest.sh``.

Each round is one run on three nodes against a server that allows eight requests in flight. At random moments a host is
killed, a host is frozen past its lease and wakes up, a node's raylet is killed and another node comes while the host of
the dead one lives on as an orphan, or the driver is killed and the same command goes on, on one to three nodes. It also
goes on if a part has lost three hosts to the kills, which stops a run. In the end the training data must be the bytes
of one machine, the totals must balance, no request may be asked again except those in flight at a kill, and the server
must never have seen more than eight in flight for a model.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ray._private.node import Node
from ray.cluster_utils import Cluster

from tests.cluster.machines import (
    add_node,
    cluster_of,
    ended,
    host_pids,
    kill,
    start,
    wait_until,
    write_cluster_run,
)
from tests.loopback import LoopbackProcess

ROWS, IN_FLIGHT, NODES = 100, 8, 3
FROZEN_SECONDS = 13.0
WAYS = ("host", "host", "freeze", "node", "driver")


class Round:
    """One run, and what is done to it."""

    def __init__(self, folder: Path, cluster: Cluster, rng: random.Random) -> None:
        self.kills = 0
        self.spared = 0
        """Requests that may have been asked again."""
        self._folder = folder
        self._cluster = cluster
        self._rng = rng
        self._process = start(folder, cluster.address)
        self._dead: list[Node] = []
        """Nodes whose raylet was killed, and is not waited for: their hosts take it for alive."""

    def run(self, most: int) -> None:
        """Until the run has ended by itself; at most so many kills."""
        while self.kills < most:
            if self._over(self._rng.uniform(2, 8)):
                return
            if host_pids():
                way = self._rng.choice(WAYS)
                self.kills += 1
                print(f"    kill {self.kills}: {way}", flush=True)
                getattr(self, f"_{way}")()
        while not self._over(300):
            pass

    def _over(self, seconds: float) -> bool:
        """Wait so long for the end of the run, and return whether it has come."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            assert seconds < 300, "the run does not end"
            return False
        said = ended(self._process, code)
        if code == 3 and "has ended 3 holders" in said:
            print("    a part has lost three hosts: the same command goes on", flush=True)
            self._process = start(self._folder, self._cluster.address)
            return False
        assert code == 0, said
        return True

    def _host(self) -> None:
        self.spared += IN_FLIGHT
        kill(self._rng.choice(host_pids()))

    def _freeze(self) -> None:
        self.spared += IN_FLIGHT
        pid = self._rng.choice(host_pids())
        kill(pid, signal.SIGSTOP)
        threading.Timer(FROZEN_SECONDS, kill, (pid, signal.SIGCONT)).start()

    def _node(self) -> None:
        """An orphan of the node may go on sending until its lease lapses, with what the driver then leases again."""
        self.spared += 2 * IN_FLIGHT
        node = self._rng.choice(self._living())
        kill(node.all_processes["raylet"][0].process.pid)
        self._dead.append(node)
        add_node(self._cluster)

    def _driver(self) -> None:
        self.spared += 3 * IN_FLIGHT
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        wanted = self._rng.choice([1, 2, 3])
        while len(self._living()) > wanted:
            self._cluster.remove_node(self._living()[0])
        while len(self._living()) < wanted:
            add_node(self._cluster)
        self._process = start(self._folder, self._cluster.address)

    def _living(self) -> list[Node]:
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id))
        return [node for node in nodes if node not in self._dead]

    def stop(self) -> None:
        """End what still runs, and make it three nodes again."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
        for node in self._dead:
            self._cluster.remove_node(node)
        while len(self._cluster.worker_nodes) < NODES:
            add_node(self._cluster)


def calm(folder: Path) -> bytes:
    """What one machine makes."""
    with LoopbackProcess() as server:
        write_cluster_run(folder, server.base_url, ROWS, in_flight=IN_FLIGHT)
        ended(start(folder, None), 0)
    return (folder / "out.jsonl").read_bytes()


def one_round(folder: Path, cluster: Cluster, rng: random.Random, most: int, expected: bytes) -> int:
    """A run with kills; returns how many. Raises ``AssertionError`` if a promise was broken."""
    with LoopbackProcess(latency=0.4, max_in_flight=IN_FLIGHT) as server:
        write_cluster_run(folder, server.base_url, ROWS, in_flight=IN_FLIGHT)
        played = Round(folder, cluster, rng)
        try:
            played.run(most)
        finally:
            played.stop()
        again = sum(count.asked - 1 for count in server.requests().values())
        most_in_flight = max(count.max_in_flight for count in server.stats().models.values())
    assert (folder / "out.jsonl").read_bytes() == expected, "other bytes than one machine's"
    totals = json.loads((folder / "work" / "summary.json").read_text())["totals"]
    whole = totals["emitted"] + sum(totals["dropped"].values()) + sum(totals["failed"].values())
    assert whole == totals["rows"] == ROWS, totals
    assert again <= played.spared, f"{again} asked again, {played.spared} at most"
    assert most_in_flight <= IN_FLIGHT, f"{most_in_flight} in flight"
    wait_until(lambda: not host_pids())
    print(f"  {played.kills} kills, {again} asked again of {played.spared} at most", flush=True)
    return played.kills


def main() -> int:
    """Rounds until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, kills, rounds, began = random.Random(given.seed), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        expected = calm(Path(work) / "calm")
        with cluster_of(NODES) as cluster:
            while kills < given.kills:
                rounds += 1
                folder = Path(work) / str(rounds)
                kills += one_round(folder, cluster, rng, min(5, given.kills - kills), expected)
    print(f"{kills} kills in {rounds} runs, {time.monotonic() - began:.0f} s: every run made the bytes of one machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
