"""Options, words and names before values."""

import pytest

from tests.workers.answers.cases import NO, UNSURE, YES, check
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


OPTIONS = [
    ("(A) C", "A", UNSURE),
    ("(A), C", "A", UNSURE),
    ("(A)/C", "A", UNSURE),
    ("A. C", "A", UNSURE),
    ("A.B", "A", UNSURE),
    ("A:B", "A", UNSURE),
    ("A: 3, B: 4", "A", UNSURE),
    ("A) 1 B) 2", "A", UNSURE),
    ("D.C.", "D", UNSURE),
    ("(A)^2", "A", UNSURE),
    ("(A)'", "A", UNSURE),
    ("(A)B", "A", UNSURE),
    ("(a)+1", "a", UNSURE),
    ("(a) + 1", "a", UNSURE),
    ("(c) - (d)", "c", UNSURE),
    ("(e)^x", "e", UNSURE),
    ("(A) is wrong", "A", UNSURE),
    ("(A) isn't it", "A", UNSURE),
    ("(A) or something else", "A", UNSURE),
    ("i", "I", UNSURE),
    ("e", "E", UNSURE),
    ("(i)", "I", UNSURE),
    ("(E)", "e", UNSURE),
    ("b", "B", YES),
    ("(b)", "B", YES),
    ("b", "(B)", YES),
    ("(A) a red ball", "A", YES),
    ("(A) -5", "A", YES),
    ("B: 20", "(B)", YES),
    (r"\textbf{(C)}\ 5\sqrt{2}", "C", YES),
    (r"\text{(B)} \frac{1}{2}", "(B)", YES),
    ("(A) 5", "(B)", NO),
    ("A", "(C) 12", NO),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), OPTIONS)
def test_only_a_letter_that_stands_for_itself_is_an_option(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)


@pytest.mark.parametrize(("answer", "reference", "expected"), COMPARISONS)
def test_options_and_words_are_equal_different_or_in_doubt(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)


def test_equals_signs_inside_brackets_are_no_equation() -> None:
    assert quick_verdict("\\boxed{(x = 4)}", "4") is None


def test_a_capital_is_not_taken_for_a_variable() -> None:
    assert quick_verdict("\\boxed{C}", "c") is UNSURE
