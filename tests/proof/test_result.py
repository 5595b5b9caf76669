"""What a proof concludes from answers: a planted effect is found as often as promised, and none is not."""

import pytest
from msgspec import structs

from tests.proof.simulated import asked_of, claim_of, proof_of
from weak2wise.proof.claim import POWER
from weak2wise.proof.result import Overlap, compare_arms, outcomes_of, warnings_of

ROUNDS = 60


def _found(effect: float) -> int:
    claim = claim_of(questions=150)
    return sum(compare_arms(claim, asked_of(claim, {"winners": effect}, seed))[0].found for seed in range(ROUNDS))


def test_an_effect_of_the_detectable_size_is_found_as_often_as_the_claim_says() -> None:
    found = _found(claim_of(questions=150).detectable)
    assert found >= (POWER - 0.1) * ROUNDS  # the claim is careful: it assumes that effects differ between questions


def test_where_there_is_no_effect_none_is_found_but_by_chance() -> None:
    assert _found(0.0) <= 0.13 * ROUNDS  # 5 % expected; more than 8 of 60 happen once in 100,000


def test_a_planted_effect_is_said_and_none_is_said_too() -> None:
    assert proof_of({"winners": 0.2}).verdict().startswith("Training helped.")
    assert proof_of({"winners": -0.2}).verdict().startswith("Training made it worse.")
    nothing = proof_of({"winners": 0.0}, seed=3, questions=30)
    assert nothing.verdict().startswith("No effect was found.")
    assert "underpowered" in nothing.verdict()
    assert nothing.primary.underpowered


def test_the_claim_is_one_test_and_all_others_are_corrected_together() -> None:
    proof = proof_of({"winners": 0.05, "random": 0.03, "shortest": 0.0}, questions=60)
    first, *others = proof.comparisons
    assert (first.after, first.before, first.measure) == ("winners", "untrained", "flexible")
    assert first.primary
    assert first.corrected == first.difference.p
    assert not any(other.primary for other in others)
    assert [(c.after, c.before) for c in proof.comparisons if c.measure == "strict"] == [
        ("winners", "untrained"),
        ("random", "untrained"),
        ("shortest", "untrained"),
        ("winners", "random"),
        ("winners", "shortest"),
    ]
    assert len(others) == 9
    smallest = min(others, key=lambda other: other.difference.p)
    assert smallest.difference.p > 1e-3
    assert smallest.corrected == pytest.approx(min(1.0, 9 * smallest.difference.p))


def test_an_arm_counts_every_seed_and_is_shown_with_each_seed_alone() -> None:
    claim = claim_of(questions=50)
    asked = asked_of(claim, {"winners": 0.1}, seed=1)
    names = [(outcome.name, outcome.seeds) for outcome in outcomes_of(asked)]
    assert names == [
        ("untrained", ()),
        ("winners, all seeds", (0, 1)),
        ("winners, seed 0", (0,)),
        ("winners, seed 1", (1,)),
    ]
    pooled, one, two = (outcome.flexible.value for outcome in outcomes_of(asked)[1:])
    assert pooled == pytest.approx((one + two) / 2)


def test_answers_to_other_questions_cannot_be_compared() -> None:
    claim = claim_of(questions=50)
    asked = asked_of(claim, {"winners": 0.1}, seed=1)
    with pytest.raises(ValueError, match="no answers of winners"):
        compare_arms(claim, asked[:1])
    with pytest.raises(ValueError, match="zip"):
        compare_arms(claim, [asked[0], *asked_of(claim_of(questions=49), {"winners": 0.1}, seed=1)[1:]])


def test_arms_that_are_alike_and_bits_that_are_nearly_all_zeros_are_warned_of() -> None:
    alike = [Overlap(one="winners", other="random", share=0.51)]
    assert "can hardly differ" in warnings_of([], [], alike, (0.099, 1000))[0]
    assert "9.9 % of the mask bits" in warnings_of([], [], alike, (0.099, 1000))[1]
    assert warnings_of([], [], [Overlap(one="winners", other="random", share=0.5)], (0.1, 1000)) == []
    assert warnings_of([], [], [], (0.0, 0)) == []


def test_answers_that_nobody_could_decide_are_warned_of() -> None:
    """They count as wrong, so a model may seem worse by the format of its answers alone."""
    asked = asked_of(claim_of(questions=50), {"winners": 0.1}, seed=1)
    many = [[1.0, 0.0, 0.0, 0.0]] * 50
    outcomes = outcomes_of([structs.replace(asked[0], undecided=many), *asked[1:]])
    (said,) = warnings_of(outcomes, [], [], None)
    assert said.startswith("untrained, held-out: 25 % of the answers could not be decided")
