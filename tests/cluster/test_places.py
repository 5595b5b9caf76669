"""Where hosts may run: by GPUs, by CPUs without one, and only on nodes that are up."""

from typing import Any

from weak2wise.cluster.places import places


def node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "NodeManagerHostname": name, "Alive": alive, "Resources": resources}


def test_each_gpu_gets_a_host_with_a_cpu_for_its_front_end() -> None:
    found = places([node("big", GPU=8, CPU=64)])
    assert [(place.number, place.of, place.gpus, place.cpus) for place in found] == [(at, 8, 1, 1.0) for at in range(8)]


def test_gpus_share_too_few_cpus() -> None:
    assert [(place.gpus, place.cpus) for place in places([node("thin", GPU=4, CPU=2)])] == [(1, 0.5)] * 4


def test_a_node_without_a_gpu_gets_two_hosts_and_a_small_one_one() -> None:
    found = places([node("wide", CPU=32), node("small", CPU=1)])
    assert [(place.node, place.number, place.gpus, place.cpus) for place in found] == [
        ("wide", 0, 0, 1.0),
        ("wide", 1, 0, 1.0),
        ("small", 0, 0, 1.0),
    ]


def test_a_node_that_is_down_or_offers_nothing_gets_none() -> None:
    assert places([node("down", alive=False, CPU=8), node("head", memory=1e9)]) == []
