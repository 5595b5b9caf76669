"""Formulas, and tuples, lists, sets, intervals and matrices of them."""

import pytest

from tests.answer_cases import NO, UNSURE, YES, check

COMPARISONS = [
    # tuples, lists, sets, intervals, matrices
    (r"(3, \pi/2)", r"\left( 3, \frac{\pi}{2} \right)", YES),
    (r"(\frac{\pi}{2}, 3)", r"\left( 3, \frac{\pi}{2} \right)", NO),
    (r"(3, 90^\circ)", r"\left( 3, \frac{\pi}{2} \right)", UNSURE),
    ("1, -2", "1,-2", YES),
    ("-2,1", "1,-2", UNSURE),
    ("(1,-2)", "1,-2", UNSURE),
    ("1", "1,-2", NO),
    ("3 and 5", "3,5", YES),
    (r"\{2,1\}", r"\{1,2\}", YES),
    (r"1-\sqrt{19}, 1+\sqrt{19}", r"1 \pm \sqrt{19}", YES),
    (r"1 \pm \sqrt{17}", r"1 \pm \sqrt{19}", NO),
    ("[3,4]", "(3,4]", NO),
    ("(3,4)", "[3,4]", UNSURE),
    (r"(2,\infty)", r"[2,\infty)", NO),
    (r"x \in (3,4]", "(3,4]", YES),
    (r"\begin{bmatrix}-\frac13\\\frac23\end{bmatrix}", r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", YES),
    (r"\begin{pmatrix} -1/3 \\ 1/3 \end{pmatrix}", r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", NO),
    # formulas
    ("-q+p", "p - q", YES),
    ("q-p", "p - q", NO),
    ("2n+2", "2k+2", UNSURE),
    ("X", "x", UNSURE),
    ("2(k+1)", "2k+2", UNSURE),
    ("(b+2)(a+5)", "(a+5)(b+2)", YES),
    ("ab+2a+5b+10", "(a+5)(b+2)", UNSURE),
    ("(2+i)(3-i)", "7+i", YES),
    ("6+5i", "6 - 5i", NO),
    (r"\frac{1}{\sqrt3}", r"\frac{\sqrt{3}}{3}", YES),
    ("0.577", r"\frac{\sqrt{3}}{3}", UNSURE),
    ("0.7", r"\frac{\sqrt{3}}{3}", NO),
    (r"\frac{\cos x}{\sin x}", r"\cot x", YES),
    (r"\tan x", r"\cot x", NO),
    (r"\log x", r"\ln x", UNSURE),
    ("1/2x", r"\frac{x}{2}", UNSURE),
    (r"\cos(n\pi)", "(-1)^n", UNSURE),
    ("10x-14y+22z+8=0", "5x - 7y + 11z + 4 = 0", YES),
    ("5x-7y+11z+5=0", "5x - 7y + 11z + 4 = 0", UNSURE),
    ("3 > x", "x < 3", YES),
    ("x < 4", "x < 3", UNSURE),
    (r"288\pi\text{ cm}^3", r"288 \pi", YES),
    ("904.78", r"288 \pi", UNSURE),
    (r"\sqrt{25}", "5", YES),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), COMPARISONS)
def test_formulas_are_equal_different_or_in_doubt(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
