"""Formulas, and tuples, lists, sets, intervals and matrices of them."""

import pytest

from tests.workers.answers.cases import NO, UNSURE, YES, check

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


LARGE_AND_SMALL = [
    ("2^{2024}-1", "2^{2024}", NO),
    ("2^{2024}", "2 \\cdot 2^{2023}", YES),
    ("100!", "100!-1", NO),
    ("100!", r"100 \cdot 99!", YES),
    ("2^{-120}", "0", NO),
    ("10^{-36}", r"2\cdot 10^{-36}", NO),
    (r"\frac{1}{2024!}", r"\frac{1}{2023!}", NO),
    (r"1 - \left(\frac{1}{2}\right)^{2024}", "1", NO),
    (r"\sqrt{2}+10^{-36}", r"\sqrt2", UNSURE),
    (r"\sqrt{2} \cdot \left(1 + \frac{1}{2^{2024}}\right)", r"\sqrt2", UNSURE),
    ("x+10^{-40}", "x", NO),
    ("y = x+10^{-40}", "y = x", NO),
    (r"y - 10^{-40} x = 0", "y = 0", UNSURE),
    ("9^{9^9}", "9^{9^9}+1", UNSURE),
    ("x^{123456789}", "x^{123456788}", UNSURE),
    ("(10^6)!", "7", UNSURE),
    (r"\sqrt{2}\sqrt{3}", r"\sqrt{6}", YES),
    (r"\sqrt{2}\sqrt{3}-\sqrt{6}", "0", UNSURE),
    (r"e^{x^{3}y+2x}", r"e^{2x+x^{3}y}", YES),
    (r"e^{x^{3}y+2x}", r"e^{2x+x^{3}y}+1", UNSURE),
    (r"e^{\pi\sqrt{163}}", "262537412640768744", UNSURE),
]

MISREAD = [
    ("2(3)", "6", UNSURE),
    ("2(3)", "5", UNSURE),
    ("(2)(3)", "5", UNSURE),
    ("3(4)(5)", "12", UNSURE),
    ("6-2(3)", "1", UNSURE),
    (r"\frac{1}{2}(4)(3)", r"\frac72", UNSURE),
    ("2[3]", "5", UNSURE),
    ("2(x+3)", "2(3+x)", YES),
    ("7 and 1/2", "7.5", UNSURE),
    (r"2 \text{ and } \frac{1}{3}", r"\frac73", UNSURE),
    (r"\sin 30^\circ", r"\frac12", UNSURE),
    (r"\sin 30^\circ", r"\sin 30", UNSURE),
    (r"\cos 20^\circ", r"\sin 70^\circ", UNSURE),
    ("BA", "AB", UNSURE),
    ("AB^{-1}", "B^{-1}A", UNSURE),
    (r"A^T B^T", "B^T A^T", UNSURE),
    (r"\vec{a}\times\vec{b}", r"\vec{b}\times\vec{a}", UNSURE),
    (r"a\times b", r"b\times a", UNSURE),
    ("12 pm", "12 mp", UNSURE),
    ("5 kg", "5 gk", UNSURE),
    ("3xy", r"\frac{6xy}{2}", YES),
    (r"\Delta", r"\delta", UNSURE),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", UNSURE),
    (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\begin{vmatrix}2&1\\4&3\end{vmatrix}", UNSURE),
    (r"2\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\4\end{pmatrix}", UNSURE),
    ("(1,000)", "(1,0)", UNSURE),
    ("(100,200)", "(100, 201)", NO),
    (r"\not= 5", "5", UNSURE),
    (r"x \not= 5", "x = 5", UNSURE),
    ("~p", "p", UNSURE),
    ("x'=5", "5", UNSURE),
    ("f'(x)=2x", "2x", YES),
    ("y' = 2x", "y = 2x", UNSURE),
    ("3-5", "-2", UNSURE),
    ("3–5", "-2", UNSURE),
    (r"\frac123", r"\frac{1}{23}", UNSURE),
    (r"\sqrt23", r"\sqrt{23}", UNSURE),
    ("2^10", "1024", UNSURE),
    ("5!!", "15", UNSURE),
    ("--5", "5", UNSURE),
    ("1,5", "1.5", UNSURE),
    ("1,23", "123", UNSURE),
    ("1,5", "1", NO),
    ("x=3, y=4", "3, 4", YES),
    ("y=3, x=4", "3, 4", UNSURE),
    ("0.(3)", "0.3", UNSURE),
    (r"0.\overline{3}", "0.3", UNSURE),
    (r"\overline{z}", "z", UNSURE),
]


NO_ARITHMETIC = [
    ("e4", "4e", UNSURE),
    ("12AB", "AB12", UNSURE),
    ("1e9+7", "1000000007", UNSURE),
    ("+1-555-1234", "-1788", UNSURE),
    ("2024/01/05", "2024/05/01", UNSURE),
    ("2-1, 3-0", "1, 3", UNSURE),
    (r"10-5-2\text{ cm}", r"3\text{ cm}", UNSURE),
    (r"4\times 6\text{ cm}", r"24\text{ cm}", UNSURE),
    (r"8.5 \times 11", r"11 \times 8.5", UNSURE),
    ("4*6", "24", UNSURE),
    (r"4 \cdot 6", "24", YES),
    (r"3 \times 10^{5}", "300000", YES),
    ("[1,2,3]", "[3,2,1]", UNSURE),
    ("[1,2,3]", "(3,2,1)", UNSURE),
    ("[1,2,3]", "[1,2,4]", NO),
    ("(1,2,3)", "(3,2,1)", NO),
    ("(1,250, 3)", "(1250,3)", YES),
    ("(1,250,3)", "(1250,3)", UNSURE),
    ("(1,250, 300)", "(1, 250,300)", UNSURE),
    (r"\{1,000, 2,000\}", r"\{1000, 2000\}", YES),
    (r"(5\text{ MeV}, 3)", r"(5\text{ meV}, 3)", UNSURE),
    (r"E = 5\text{ MeV}", r"5\text{ meV}", UNSURE),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), NO_ARITHMETIC)
def test_labels_dates_sizes_and_lists_are_no_arithmetic(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
    check(reference, answer, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "reference", "expected"), LARGE_AND_SMALL)
def test_nothing_is_too_large_or_too_small_to_matter(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
    check(reference, answer, expected)


@pytest.mark.parametrize(("answer", "reference", "expected"), MISREAD)
def test_what_the_parser_would_misread_is_a_doubt(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
    check(reference, answer, expected)


@pytest.mark.parametrize(("answer", "reference", "expected"), COMPARISONS)
def test_formulas_are_equal_different_or_in_doubt(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
