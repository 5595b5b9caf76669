"""The claim is written once, before anything is trained; what would change its meaning later is refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.proof.simulated import claim_of
from weak2wise.errors import ConfigError
from weak2wise.proof.claim import FEWEST_QUESTIONS, HeldOutSet, read, settle


def test_the_first_claim_is_written_and_holds_for_later_starts(tmp_path: Path) -> None:
    path = tmp_path / "proof" / "claim.json"
    assert read(path) is None
    first = settle(path, claim_of())
    assert read(path) == first
    later = settle(path, claim_of(arms=("winners", "random"), seeds=(0, 1, 2), solve_rate=0.5))
    assert later == first


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"measure": "strict"}, "measure"),
        ({"questions": 300}, "sets"),
        ({"sets": (HeldOutSet(name="held-out", questions=200, digest="other", samples=4),)}, "sets"),
        ({"samples": 8}, "sets"),
        ({"base": "another"}, "base"),
        ({"data": "other rows"}, "data"),
        ({"arms": ("random", "winners")}, "arm"),
        ({"settings": {"train.epochs": 4}}, "train.epochs 3 .now 4"),
    ],
)
def test_a_claim_that_changes_after_results_are_known_is_refused_by_name(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    path = tmp_path / "claim.json"
    before = settle(path, claim_of())
    with pytest.raises(ConfigError, match=said):
        settle(path, claim_of(**changed))
    assert read(path) == before


def test_more_questions_and_more_answers_show_smaller_effects() -> None:
    few, more, most = claim_of(questions=100), claim_of(questions=400), claim_of(questions=400, samples=16)
    assert few.detectable > more.detectable > most.detectable > 0
    assert few.detectable == pytest.approx(2 * more.detectable, rel=0.05)


def test_too_few_questions_are_no_claim() -> None:
    with pytest.raises(ConfigError, match=f"at least {FEWEST_QUESTIONS}"):
        claim_of(questions=FEWEST_QUESTIONS - 1)


def test_a_claim_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "claim.json").write_text('{"statement": "it hel')
    with pytest.raises(ConfigError, match="restore it"):
        settle(tmp_path / "claim.json", claim_of())
