"""Options, words and names before values."""

import pytest

from tests.answer_cases import NO, UNSURE, YES, check
from workers.answers import quick_verdict

COMPARISONS = [
    # options and words
    ("(C)", r"\text{(C)}", YES),
    ("C) 12", "C", YES),
    ("B", r"\text{(C)}", NO),
    ("12", "C", UNSURE),
    ("(B) and (C)", "B", UNSURE),
    ("A dog", "A", UNSURE),
    ("Monday", r"\text{monday}", YES),
    ("Tuesday", "Monday", NO),
    ("Mon", "Monday", UNSURE),
    ("odd", "even", NO),
    ("yes", "true", UNSURE),
    # names before values
    ("x = 5", "5", YES),
    ("5", "x=5", YES),
    ("3 + 4 = 7", "7", YES),
    ("y=5", "x=5", UNSURE),
    ("x=6", "5", NO),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), COMPARISONS)
def test_options_and_words_are_equal_different_or_in_doubt(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)


def test_equals_signs_inside_brackets_are_no_equation() -> None:
    assert quick_verdict("\\boxed{(x = 4)}", "4") is None
