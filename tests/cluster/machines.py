"""A Ray cluster of several nodes on this machine, and runs on it as processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engine_runs import ROOT, config_for, write_run

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

KEY = "sk-cluster-0123456789abcdef"
STORE_BYTES = 80 * 2**20


_sessions: list[Path] = []


def session_of(cluster: "Cluster") -> Path:
    """Where Ray has the logs of a cluster."""
    return Path(cluster.head_node.get_session_dir_path())


@contextmanager
def cluster_of(nodes: int) -> "Iterator[Cluster]":
    """A head without room for hosts, and so many nodes with room for one each."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - Ray is an extra

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    shared = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **shared})
    _sessions.append(session_of(cluster))
    try:
        for _ in range(nodes):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def write_cluster_run(folder: Path, base_url: str, questions: int, *, in_flight: int, **options: Any) -> dict[str, Any]:
    """A run of small parts, with a key."""
    config = config_for(folder, base_url, n_mask=2)
    for endpoint in config["model_endpoints"].values():
        endpoint |= {"max_concurrent_requests": in_flight, "api_key_env": "W2W_CLUSTER_KEY"}
    config["cluster"] = {"part_rows": 5}
    config |= options
    write_run(folder, config, questions)
    return config


def start(folder: Path, address: str | None, command: str = "run", *arguments: str) -> "subprocess.Popen[str]":
    """The command on the folder's config; with an address on that cluster."""
    line = [sys.executable, "-m", "weak2wise", command, "--config", str(folder / "config.yaml")]
    return subprocess.Popen(
        [*line, *(["--ray", address] if address else []), *arguments],
        cwd=ROOT,
        env=dict(os.environ, W2W_CLUSTER_KEY=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]", code: int, seconds: float = 150.0) -> str:
    """Wait for its end, check its exit code, and return what it printed."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        raise AssertionError(f"did not end:\n{said}") from None
    assert process.returncode == code, said
    return said


STATE = """
import sys, ray
from ray._private import state
ray.init(address=sys.argv[1], log_to_driver=False)
print(state.actors(), state.jobs(), ray.nodes())
"""


def state_of(address: str) -> str:
    """What Ray tells about actors, jobs and nodes, also of those that have ended."""
    command = [sys.executable, "-W", "ignore", "-c", STATE, address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def host_pids() -> list[int]:
    """The processes of the hosts."""
    return actor_pids("EngineHost")


def actor_pids(class_name: str) -> list[int]:
    """The processes of the actors of one class, of the clusters that this process has started: there may be others."""
    logs = [path.stem for session in _sessions for path in session.glob("logs/python-core-worker-*.log")]
    found = []
    for pid in {int(name.rpartition("_")[2]) for name in logs}:
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(f"ray::{class_name}".encode()):
                found.append(pid)
        except OSError:
            continue
    return sorted(found)


def freeze_while_a_host_answers(driver: "subprocess.Popen[str]", hosts: list[int]) -> None:
    """Freeze a driver while the answer to one of its heartbeats is on its way."""
    titles = [Path(f"/proc/{pid}/cmdline") for pid in hosts]
    until = time.monotonic() + 30
    while not any(title.read_bytes().startswith(b"ray::EngineHost.hear") for title in titles):
        assert time.monotonic() < until, "no host hears of the driver"
    os.killpg(driver.pid, signal.SIGSTOP)


def add_node(cluster: "Cluster") -> None:
    """A node with room for one host."""
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)


@contextmanager
def without_a_node(cluster: "Cluster") -> "Iterator[None]":
    """Kill the raylet of a node with a host, and nothing else: the host lives on as an orphan. Another node comes then.

    A host looks whether its raylet lives; one that is dead and not waited for counts as alive.
    """
    node = next(iter(cluster.worker_nodes))
    kill(node.all_processes["raylet"][0].process.pid)
    try:
        yield
    finally:
        cluster.remove_node(node)
        add_node(cluster)


def wait_until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never held"
        time.sleep(0.05)


def parts_over(folder: Path) -> int:
    """How many parts have finished, by the log of the run."""
    log = folder / "work" / "parts"
    return sum(len(re.findall(r"part\.finished", path.read_text())) for path in log.glob("*/epoch-*/run.log"))


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal; the process may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
