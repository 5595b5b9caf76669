"""Hosts of one machine share its cores, if their embedded engines compute on them."""

import pytest

pytest.importorskip("ray")

from weak2wise.cluster.actors import cores


@pytest.mark.parametrize(
    ("available", "of", "shares"),
    [
        (range(8), 2, ["0,1,2,3", "4,5,6,7"]),
        ([3, 5, 9], 2, ["3", "5,9"]),
        ([4], 2, ["4", "4"]),
        (range(4), 1, ["0,1,2,3"]),
    ],
)
def test_shares_are_apart_and_none_is_empty(available: "list[int]", of: int, shares: "list[str]") -> None:
    assert [cores(available, number, of) for number in range(of)] == shares
