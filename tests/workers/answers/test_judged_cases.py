"""Pairs from the shapes of real data sets (``tests/data/judge.jsonl``): no verdict that a reader would dispute."""

import json
from collections import Counter
from pathlib import Path

import pytest

from workers.answers import in_brief, quick_verdict, verdict, worth_parsing

CASES = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data" / "judge.jsonl").read_text("utf-8").splitlines()
]
FIRST = {"right": 179, "wrong": 44, "unsure": 187}
"""What the first rules made of them, counted before there were others."""


def ruled(attempt: str, reference: str, rules: int) -> bool | None:
    """What the judge's rule says, as the judge asks it."""
    shown = in_brief(attempt.strip(), rules)
    quick = quick_verdict(shown, reference, rules=rules)
    if quick is not None or not worth_parsing(shown, reference, rules):
        return quick
    return verdict(shown, reference, rules=rules)


def outcome(case: dict[str, object], rules: int) -> str:
    said = ruled(str(case["attempt"]), str(case["reference"]), rules)
    return "unsure" if said is None else "right" if said is case["right"] else "wrong"


@pytest.mark.slow
def test_no_verdict_is_wrong_and_more_are_right_than_by_the_first_rules() -> None:
    found = {case["id"]: outcome(case, 2) for case in CASES}
    assert [name for name, made in found.items() if made == "wrong"] == []
    assert Counter(found.values())["right"] >= FIRST["right"] + 40


@pytest.mark.slow
def test_a_run_that_was_begun_with_the_first_rules_gets_their_verdicts() -> None:
    assert Counter(outcome(case, 1) for case in CASES) == FIRST


@pytest.mark.parametrize(
    ("attempt", "reference"),
    [
        (r"\boxed{180 \mathrm{~cm}}", r"180 \mathrm{~cm}"),
        (r"\boxed{180 \mathrm{~cm}}", "180"),
        (r"\boxed{½}", r"\frac{1}{2}"),
        (r"\boxed{2½}", "2.5"),
        (r"\boxed{sqrt(2)}", r"\sqrt{2}"),
        (r"\boxed{\sqrt[3]{27}}", "3"),
        (r"\boxed{\log_2 8}", "3"),
        (r"\boxed{\log_{2}(8)}", "3"),
        ("Some words. <answer>42</answer>", "42"),
        (r"<answer> \boxed{42} </answer>", "42"),
        ("<answer>The answer is 42.</answer>", "42"),
        (r"\boxed{42} is the number of ways.", "42"),
        (r"So \(\boxed{42}\) is the total number of ways to choose them.", "42"),
        ("<think>Is it 41? No.</think>\n\n42", "42"),
        ("<think>Is it 41? No.</think>\n\n**42**", "42"),
        ("<think>hm</think>\n\n(B)", "B"),
        ("<think>hm</think>\n\n\\frac{1}{2}", "0.5"),
    ],
)
def test_common_spellings_are_right(attempt: str, reference: str) -> None:
    assert ruled(attempt, reference, 2) is True


@pytest.mark.parametrize(
    ("attempt", "reference"),
    [
        ("Some words. <answer>41</answer>", "42"),
        (r"\boxed{41} is the number of ways.", "42"),
        ("<think>It is 42.</think>\n\n41", "42"),
        (r"\boxed{\log_2 8}", "4"),
        (r"\boxed{\sqrt[3]{27}}", "9"),
    ],
)
def test_common_spellings_of_something_else_are_wrong(attempt: str, reference: str) -> None:
    assert ruled(attempt, reference, 2) is False


@pytest.mark.parametrize(
    ("attempt", "reference"),
    [
        (r"\boxed{5} and then <answer>42</answer>", "42"),
        ("<answer>42</answer> or <answer>43</answer>", "43"),
        ("<answer>42</answer> No, wait.", "42"),
        (r"\boxed{42} is not the number of ways.", "42"),
        (r"\boxed{42} is the number of ways to choose the first one.", "42"),
        (r"\boxed{42} is the number of ways, so we divide by 2.", "42"),
        (r"\boxed{\sqrt[3]{-8}}", "-2"),
        (r"\boxed{\log_28}", "3"),
        (r"\boxed{³√8}", r"3\sqrt{8}"),
    ],
)
def test_what_has_two_readings_is_a_doubt(attempt: str, reference: str) -> None:
    assert ruled(attempt, reference, 2) is None


@pytest.mark.parametrize("text", ["<think>hm</think>\n\n4", "4"])
def test_a_bare_value_that_was_cut_off_is_a_doubt(text: str) -> None:
    assert quick_verdict(text, "4", cut_off=True) is None
    assert quick_verdict(text, "42", cut_off=True) is None
