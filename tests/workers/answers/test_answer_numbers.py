"""Numbers with their signs, units, percentages and separators: equal, different or doubtful."""

from fractions import Fraction

import pytest
from hypothesis import example, given, settings, strategies as st

from tests.workers.answers.cases import NO, UNSURE, YES, check
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


APART = [
    ("3 4/5", "34/5", NO),
    ("11/2", "1 1/2", NO),
    (r"3 \frac{4}{5}", "34/5", NO),
    ("12 34", "1234", UNSURE),
    ("(1 2)", "(12)", UNSURE),
    ("2^3 4", "2^34", UNSURE),
    ("1 000", "1000", UNSURE),
    ("1\u2009000\u2009000", "1000000", YES),
    ("12 34", "12  34", YES),
    ("5 cm", "5cm", YES),
    ("5~cm", "5 cm", YES),
]
"""Digits with a space between them are not one number, unless the space is one that groups thousands."""

SCALED = [
    ("5 hundred", "500", YES),
    ("5 Million", "5,000,000", YES),
    (r"1.5\text{ million dollars}", r"\$1,500,000", YES),
    ("5 hundred", "5", UNSURE),
    ("1.5 million", "1.5", UNSURE),
    ("5 million dollars", "$5", UNSURE),
    ("5 million", "5 billion", NO),
    ("5 million", "6", NO),
    ("5 thousands", "5000", UNSURE),
]

MEASURES = [
    (r"5\text{ MeV}", r"5\text{ meV}", UNSURE),
    (r"5\text{ Gpa}", r"5\text{ GPa}", YES),
    (r"36\text{ km/h}", r"10\text{ m/s}", YES),
    ("9.8 N/kg", "9.8 m/s^2", YES),
    (r"9.8\text{ m s}^{-2}", "9.8", YES),
    ("8 Mbps", "1 MBps", UNSURE),
    ("1 GB", "1024 MB", UNSURE),
    (r"100\text{ kN}", "100000", UNSURE),
    ("1 acre", "43560", UNSURE),
    ("5 miles", "8", UNSURE),
    ("5 miles", "8 km", UNSURE),
    (r"1\text{ Xq}", "1000", UNSURE),
    ("£5", "500", UNSURE),
    ("€5", "$5", UNSURE),
    ("20°C", "68°F", YES),
    ("20°C", "68", UNSURE),
    ("0°C", "32", UNSURE),
    ("20°C", "25", NO),
    (r"37^\circ\text{C}", r"40^\circ\text{C}", NO),
    ("5°C", "5°F", UNSURE),
    (r"5\text{ m}", r"5\text{ m}^2", UNSURE),
    ("50 cm", "51", NO),
    ("3 h", "190 min", UNSURE),
    (r"3\text{ h}", r"180\text{ min}", YES),
    (r"3\text{ h}", r"100\text{ min}", NO),
]


@pytest.mark.parametrize(("answer", "reference", "expected"), MEASURES)
def test_units_know_capitals_and_dimensions(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
    check(reference, answer, expected)


CHANGING_WORDS = """
lakh, crore, k, M, grand, dozens, pairs, score, halves, quarters, thirds, sevenths, twelfths, hundredths, tens, March,
May, Dec, pm, a.m., BC, below zero, degrees below, loss, fewer, more, short, squared, doubled, factorial, root,
modulo, thousands, ago, plus
"""


@pytest.mark.parametrize("word", [word.strip() for word in CHANGING_WORDS.split(",")])
def test_words_that_change_a_number_are_no_unit(word: str) -> None:
    for answer in (f"5 {word}", rf"5\text{{ {word}}}"):
        check(answer, "5", UNSURE)


@pytest.mark.parametrize("word", ["apples", "times", "boxes", "people left", "USD", "seconds", "square feet"])
def test_a_plain_noun_behind_a_number_says_only_what_was_counted(word: str) -> None:
    check(f"5 {word}", "5", YES)


@pytest.mark.parametrize(("answer", "reference", "expected"), [*APART, *SCALED])
def test_spaces_and_scale_words_are_read_and_not_skipped(answer: str, reference: str, expected: bool | None) -> None:
    check(answer, reference, expected)
    check(reference, answer, expected)


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
    texts = ("5", "50", "50%", "-5", "5 cm", "5 m", "(5,0)", "3 4/5", "34/5", "1234", "12 34")
    assert len({normalised(text) for text in texts}) == len(texts)


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


@given(st.integers(0, 10**20), st.integers(0, 10**20) | st.integers(0, 20))
@example(7, 7)
@example(0, 0)
@example(10**18, 10**18)
def test_whole_numbers_are_compared_as_any_other_spelling_of_them(one: int, other: int) -> None:
    """They are not read as numbers, which takes longer: the verdict must be that of reading them."""
    assert quick_compare(str(one), str(other)) is quick_compare(f"${one}$", f"${other}.$") is (one == other)
    assert quick_compare(str(one), str(one)) is True
