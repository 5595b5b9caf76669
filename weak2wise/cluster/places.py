"""Where in a cluster hosts may run: one for each GPU; on a node without one, two, or one on a single CPU."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

ON_CPUS = 2
"""Hosts on a node without a GPU, if it has so many CPUs: one process fills about one core."""


class Place(NamedTuple):
    """Room for one host: the ``number``th of the ``of`` on its node."""

    node_id: str
    node: str
    number: int
    of: int
    gpus: int
    cpus: float


def places(nodes: Iterable[Mapping[str, Any]]) -> list[Place]:
    """The places on these nodes, as ``ray.nodes`` describes them. A node that offers neither CPU nor GPU has none."""
    found: list[Place] = []
    for node in nodes:
        resources = node.get("Resources", {})
        gpus, cpus = int(resources.get("GPU", 0)), float(resources.get("CPU", 0))
        if not node.get("Alive") or not (gpus or cpus):
            continue
        count = gpus or min(ON_CPUS, max(1, int(cpus)))
        name = str(node.get("NodeManagerHostname") or node.get("NodeManagerAddress"))
        share = min(1.0, int(10 * cpus / count) / 10)
        found += [Place(node["NodeID"], name, number, count, min(gpus, 1), share) for number in range(count)]
    return found
