"""Laws of the rule: writing an answer otherwise never turns its verdict, and changing it never leaves it right."""

import pytest

from tests.workers.answers.rewrites import drawn, same_text
from workers.answers import verdict


def boxed(answer: str) -> str:
    return rf"So the answer is $\boxed{{{answer}}}$."


def judge_rewrites(seed: int, number: int) -> int:
    """Draw answers, hold each against the laws, and count the verdicts that were sure."""
    sure = 0
    for text, other, keeping, changing in drawn(seed, number):
        said, dressed = verdict(boxed(text), other), verdict(boxed(keeping), other)
        assert {said, dressed} != {True, False}, f"{text!r} and {keeping!r} against {other!r}"
        back, held = verdict(boxed(other), text), verdict(boxed(other), keeping)
        assert {back, held} != {True, False}, f"{other!r} against {text!r} and {keeping!r}"
        if not same_text(changing, text):
            assert verdict(boxed(changing), text) is not True, f"{changing!r} against {text!r}"
            assert verdict(boxed(text), changing) is not True, f"{text!r} against {changing!r}"
        sure += said is not None
    return sure


@pytest.mark.slow
def test_no_rewrite_turns_a_verdict() -> None:
    assert judge_rewrites(seed=0, number=500) > 400, "most are decided"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(1, 9))
def test_none_of_many_rewrites_turns_a_verdict(seed: int) -> None:
    """Eight times 1,300 answers with two rewrites each, one that keeps the answer and one that changes it."""
    assert judge_rewrites(seed, number=1300) > 1000
