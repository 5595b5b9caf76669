"""Numbers with their signs, units, percentages and separators: equal, different or doubtful."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.answer_cases import NO, UNSURE, YES, check
from workers.answers import normalised, quick_verdict
from workers.answers.compare import quick_compare

COMPARISONS = [
    # money, units, separators
    ("$18.00", "18", YES),
    (r"\$18", "18 dollars", YES),
    ("5 cm", "5", YES),
    ("5", "5 cm", YES),
    (r"5\text{ m}", "5", YES),
    ("500 cm", r"5\text{ m}", YES),
    (r"5\text{ m}", "5 cm", NO),
    ("5 apples", "6", NO),
    ("5 more than Bob", "5", UNSURE),
    ("5 m", "5", UNSURE),
    ("5x", "5", UNSURE),
    ("500 cm", "5", UNSURE),
    ("5 hours", "300", UNSURE),
    ("25 cents", "0.25", UNSURE),
    ("2 dozen", "24", UNSURE),
    ("$20", "18", NO),
    ("30 square feet", "20", NO),
    ("36 km/h", "10", UNSURE),
    ("1,234", "1234", YES),
    ("1{,}234", "1234", YES),
    ("10080", r"10,\!080", YES),
    ("32348", r"\$32,\!348", YES),
    ("11111111100", r"11,\! 111,\! 111,\! 100", YES),
    ("200,100", "100,200", UNSURE),
    # percentages, decimals, fractions
    (r"50\%", "50", YES),
    (r"50\%", "0.5", YES),
    ("51%", "50", NO),
    ("0.5%", "0.5", UNSURE),
    ("0.5", "50", UNSURE),
    ("1", "100", NO),
    (".5", r"\frac12", YES),
    (r"\dfrac{1}{2}", "1/2", YES),
    (r"1\frac{1}{2}", "3/2", YES),
    (r"2\frac{1}{2}x", r"\frac52x", UNSURE),
    ("1 1/2", "1.5", YES),
    (r"\frac{35}{-9}", r"-\frac{35}{9}", YES),
    (r"\frac{1}{0}", "1", UNSURE),
    ("3.1416", "3.14", UNSURE),
    ("0.333", "1/3", UNSURE),
    ("3.3", "3.14", NO),
    ("18.5", "18", UNSURE),
    (r"6.72 \times 10^{-5}", ".0000672", YES),
    ("0.0000671", ".0000672", NO),
    ("1538830", "1.53883e+06", YES),
    ("1538832", "1.53883e+06", UNSURE),
    ("1.5 million", "1500000", YES),
    ("five", "5", UNSURE),
    # bases, times, ratios, angles
    ("52_{8}", "52_8", YES),
    ("52", "52_8", UNSURE),
    ("42", "52_8", UNSURE),
    ("53_8", "52_8", NO),
    ("3:30", "3:30", YES),
    ("3:30", "3.5", UNSURE),
    ("6:4", "3:2", UNSURE),
    ("30 degrees", r"30^\circ", YES),
    ("30", r"30^\circ", YES),
    (r"\frac{\pi}{6}", r"30^\circ", UNSURE),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), COMPARISONS)
def test_numbers_are_equal_different_or_in_doubt(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234", "$1234$"),
        (r"\text{Monday}", "monday"),
        (r"\dfrac{1}{2}", "0.5"),
        ("p - q", "p-q"),
        (" 5. ", "5"),
        (r"\left( 3, 4 \right)", "(3,4)"),
    ],
)
def test_votes_for_one_answer_are_counted_together(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_votes_for_different_answers_are_counted_apart() -> None:
    assert len({normalised(text) for text in ("5", "50", "50%", "-5", "5 cm", "5 m", "(5,0)")}) == 7


def spelled(number: int) -> st.SearchStrategy[str]:
    """Spellings of one integer."""
    return st.sampled_from(
        [
            str(number),
            f"{number:,}",
            f"{number:,}".replace(",", "{,}"),
            f"{number:,}".replace(",", r",\!"),
            f"{number}.00",
            f"${number}",
            rf"\${number}",
            f"{number} apples",
            rf"{number}\text{{ cm}}",
            rf"\text{{{number}}}",
            f"x = {number}",
            rf"\frac{{{3 * number}}}{{3}}",
            f"{2 * number}/2",
            f"**{number}**",
            f"{number}.",
        ]
    )


integers = st.integers(-10_000_000, 10_000_000)


@settings(deadline=None)
@given(data=st.data(), number=integers)
def test_a_number_equals_itself_in_every_spelling(data: st.DataObject, number: int) -> None:
    attempt = rf"So it is \boxed{{{data.draw(spelled(number))}}}."
    assert quick_verdict(attempt, str(number)) is YES


@settings(deadline=None)
@given(data=st.data(), number=integers, step=st.integers(1, 1000))
def test_another_number_is_never_right(data: st.DataObject, number: int, step: int) -> None:
    attempt = rf"So it is \boxed{{{data.draw(spelled(number + step))}}}."
    reference = data.draw(spelled(number))
    assert quick_verdict(attempt, reference) is not YES
    assert quick_verdict(attempt.replace("apples", "").replace("cm", ""), str(number)) in (NO, UNSURE)


@settings(deadline=None)
@given(one=st.fractions(-1000, 1000, max_denominator=500), other=st.fractions(-1000, 1000, max_denominator=500))
def test_fractions_are_compared_exactly(one: Fraction, other: Fraction) -> None:
    written = rf"\frac{{{other.numerator}}}{{{other.denominator}}}"
    may_be_percent = other in (100 * one, one / 100) and other != one
    expected = UNSURE if may_be_percent and min(abs(one), abs(other)) < 1 else one == other
    assert quick_compare(f"{one.numerator}/{one.denominator}", written) is expected
