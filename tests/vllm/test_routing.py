"""Which replica gets a call, without vLLM."""

import random
from collections import Counter

import pytest

from weak2wise.llm.homes import homes
from weak2wise.llm.vllm.routing import Routing


def test_all_calls_of_a_row_go_to_one_replica_and_rows_are_spread_evenly() -> None:
    routing = Routing(replicas=4, places=64)
    homes = {row: {routing.take(row) for _ in range(3)} for row in range(1, 17)}
    assert all(len(home) == 1 for home in homes.values())
    assert Counter(home for (home,) in homes.values()) == dict.fromkeys(range(4), 4)


def test_rows_of_which_only_every_fourth_is_left_still_have_one_replica_each() -> None:
    """Their first home is the same one; most of their calls go to the second, and few anywhere else."""
    routing, rows = Routing(replicas=4, places=64), range(4, 68, 4)
    places = {row: Counter(routing.take(row) for _ in range(8)) for row in rows}
    assert max(routing.loads) - min(routing.loads) <= 8
    scattered = sum(sum(taken.values()) - sum(taken[home] for home in homes(row, 4)) for row, taken in places.items())
    assert scattered <= 0.1 * 16 * 8


def test_one_row_alone_leaves_its_replica_when_that_has_many_more_calls() -> None:
    routing = Routing(replicas=2, places=64)
    assert Counter(routing.take(7) for _ in range(8)) == {1: 8}
    assert Counter(routing.take(7) for _ in range(100)) == {0: 50, 1: 50}
    assert routing.loads == [50, 58]


def test_no_replica_is_left_with_a_free_place_while_another_has_a_queue() -> None:
    routing = Routing(replicas=2, places=4)
    for _ in range(8):
        routing.take(1)
    assert routing.loads == [4, 4]


def test_rows_keep_their_replica_while_all_are_full() -> None:
    routing = Routing(replicas=2, places=16)
    for row in range(32):
        routing.take(row)
    assert routing.loads == [16, 16]
    assert [routing.take(1), routing.take(1)] == [1, 1]


def test_a_place_given_back_is_taken_again() -> None:
    routing = Routing(replicas=2, places=8)
    assert routing.take(0) == 0
    routing.give_back(0)
    assert routing.loads == [0, 0]
    assert routing.take(0) == 0


@pytest.mark.parametrize("replicas", [1, 2, 8])
def test_a_call_makes_no_replica_much_fuller_than_another(replicas: int) -> None:
    """Whatever rows ask: by an eighth of its places at most."""
    rng, routing, places = random.Random(replicas), Routing(replicas, places=32), 32
    under_way: list[int] = []
    for _ in range(5_000):
        if under_way and (rng.random() < 0.45 or len(under_way) > 1.1 * replicas * places):
            routing.give_back(under_way.pop(rng.randrange(len(under_way))))
        else:
            before = min(routing.loads)
            under_way.append(routing.take(rng.choice([3, 3, 3, rng.randrange(100)])))
            assert routing.loads[under_way[-1]] <= before + places // 8
        assert sum(routing.loads) == len(under_way)
