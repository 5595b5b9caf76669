"""The rule: what an attempt's final answer is, whether it is right, and where a text derives it."""

import asyncio
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weak2wise.offload import Offload, OffloadTimeout
from workers.answers import (
    final_answer,
    first_sentence_with,
    normalised,
    quick_verdict,
    verdict,
    warm_up,
    worth_parsing,
)
from workers.answers.algebra import compare
from workers.answers.compare import quick_compare
from workers.answers.locate import sentences

YES, NO, UNSURE = True, False, None

FINAL_ANSWERS = [
    (r"We get \boxed{5}.", "5"),
    (r"\boxed{3} is wrong. Again:" + "\n\n" + r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"so $\boxed 42$", "42"),
    (r"\fbox{7}", "7"),
    (r"\boxed{5", None),
    (r"\boxed{}", None),
    ("The answer is **18**.", "18"),
    ("**Answer:** $5$", "5"),
    ("## Final Answer\n\n18 dollars", "18 dollars"),
    ("Some text\n#### 1,234", "1,234"),
    ("#### Step 3: add", None),
    ("the answer to the question is 3.5, because", "3.5, because"),
    ("The answer is not 5.", None),
    ("Therefore, she makes $18 every day.", "$18"),
    ("So, 6 times 7 equals 42.", "42"),
    ("Therefore 3 + 4 = 7 apples.", "7"),
    ("So 3 = 7 - 4 and 2 are left.", None),
    ("So, after 3 weeks, he has 45 dollars.", None),
    ("Therefore, she makes 18", None),
    ("She has 18 apples.", None),
    ("<think>the answer is 6</think> The answer is 5", "5"),
    ("I do not know.", None),
    ("", None),
]

VERDICTS = [
    ("", "5", NO),
    (" \n", "5", NO),
    ("I do not know.", "5", UNSURE),
    (r"\boxed{5}", "5", YES),
    (r"\boxed{3} or \boxed{5}", "5", UNSURE),
    (r"x=\boxed{3} or x=\boxed{5}", "3,5", UNSURE),
    ("First \\boxed{3}\n\nthen \\boxed{5}", "5", YES),
    ("First \\boxed{3}\n\nthen \\boxed{5}", "3", UNSURE),
    ("First \\boxed{3}\n\nthen \\boxed{5}", "4", NO),
    (r"\boxed{5}. Wait, the answer is 6.", "5", UNSURE),
    (r"\boxed{5}. So the answer is 5.", "5", YES),
    (r"\boxed{\boxed{5}}", "5", YES),
    ("The answer is 6.", "5", NO),
    ("The answer is 5 or 6", "5", NO),
    ("The answer is 1/2 of the total", "1/2", UNSURE),
    ("The answer is 5 because 2+3=5.", "5", YES),
    ("The answer is B because it fits", "B", YES),
    ("The answer is a dog", "A", UNSURE),
    ("Therefore, she makes $18 every day.", "18", YES),
    ("Therefore, she makes $18 every day.", "19", UNSURE),
]

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
    # names before values
    ("x = 5", "5", YES),
    ("5", "x=5", YES),
    ("3 + 4 = 7", "7", YES),
    ("y=5", "x=5", UNSURE),
    ("x=6", "5", NO),
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


@pytest.mark.parametrize(("attempt", "answer"), FINAL_ANSWERS)
def test_the_final_answer_is_the_one_the_attempt_commits_to(attempt: str, answer: str | None) -> None:
    found = final_answer(attempt)
    assert found == answer or (found is not None and answer is not None and found == answer.partition(", because")[0])


@pytest.mark.parametrize(("attempt", "reference", "expected"), VERDICTS)
def test_a_verdict_is_never_a_guess(attempt: str, reference: str, expected: bool | None) -> None:
    assert verdict(attempt, reference) is expected
    assert quick_verdict(attempt, reference) in (expected, UNSURE)


@pytest.mark.parametrize(("answer", "reference", "expected"), COMPARISONS)
def test_equal_answers_near_misses_and_doubts(answer: str, reference: str, expected: bool | None) -> None:
    assert compare(answer, reference) is expected
    assert quick_compare(answer, reference) in (expected, UNSURE)


@pytest.mark.parametrize(("answer", "reference", "expected"), [c for c in COMPARISONS if c[2] is UNSURE])
def test_a_doubt_does_not_depend_on_the_side(answer: str, reference: str, expected: bool | None) -> None:
    """Whatever is unsure one way is not certainly right the other way."""
    assert expected is UNSURE
    assert compare(reference, answer) is not YES


def test_parsing_is_offered_only_where_it_can_help() -> None:
    assert worth_parsing(r"\boxed{\sqrt{25}}", "5")
    assert not worth_parsing(r"\boxed{18.5}", "18")  # a doubt about rounding: no parser knows
    assert not worth_parsing(r"\boxed{12}", "(C)")
    assert not worth_parsing(r"\boxed{the cat sat on the mat}", "5")
    assert not worth_parsing("no answer at all", "5")


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


balanced = st.recursive(
    st.text("abcxyz0123456789+-= \\frac,()", min_size=1, max_size=8),
    lambda inner: st.tuples(inner, inner).map(lambda pair: f"{pair[0]}{{{pair[1]}}}"),
    max_leaves=6,
).filter(lambda text: text.strip() and not text.endswith("\\") and r"\{" not in text and r"\}" not in text)


@settings(deadline=None)
@given(content=balanced, before=st.text("ab {}$.\n", max_size=20))
def test_the_content_of_the_last_box_is_the_final_answer(content: str, before: str) -> None:
    attempt = f"{before} \\boxed{{{content}}}. Done"
    assert final_answer(attempt) == content.strip()


LOCATED = [
    # the first sentence that derives the answer, and not one that only mentions the number
    ("She eats 3 eggs. So 9 - 6 = 3 are left. Yes, 3.", "3", "She eats 3 eggs. So 9 - 6 = 3 are left."),
    ("16 minus 3 is 13. Then 13 - 4 = 9 remain. 9 again.", "9", "16 minus 3 is 13. Then 13 - 4 = 9 remain."),
    ("There are 140 or 3.14. Well, 14 it is. Done.", "14", "There are 140 or 3.14. Well, 14 it is."),
    ("x = 18 - 4 = 14. Again 14 + 4 = 18. Yes.", "18", "x = 18 - 4 = 14. Again 14 + 4 = 18."),
    ("We sum up to 1,200. Next.", "1200", "We sum up to 1,200."),
    (
        "It costs $5 now. It was $7 before. So 5 + 7 = $12. ok",
        "12",
        "It costs $5 now. It was $7 before. So 5 + 7 = $12.",
    ),
    ("That is \\frac{1}{2}. Done.", "0.5", "That is \\frac{1}{2}."),
    ("Hence 3√13. Done.", r"3\sqrt{13}", "Hence 3√13."),
    ("Thus $x = \\frac{\\pi}{2}$. Done.", r"\dfrac{\pi}{2}", "Thus $x = \\frac{\\pi}{2}$."),
    ("Is it Eve? No. It is Evelyn. Yes.", r"\text{Evelyn}", "Is it Eve? No. It is Evelyn."),
    ("A cat. Option B fails. So it is (C). Done.", r"\text{(C)}", "A cat. Option B fails. So it is (C)."),
    ("Line one\nthe total = 7\nline three", "7", "Line one\nthe total = 7"),
    ("Half of it, 50% it is. Done.", "0.5", "Half of it, 50% it is."),
    ("That makes 0.5. Done.", r"50\%", "That makes 0.5."),
    ("It is 50 of them. Done.", "0.5", None),
    ("Take one or two. So x equals five. Done.", "5", "Take one or two. So x equals five."),
    ("Take one or two.", "2", None),
    ("Try x = 1. Thus x = 1 and y = 2. Done.", "(1,2)", "Try x = 1. Thus x = 1 and y = 2."),
    ("Thus n = 12.\nTherefore A = {1, 2, 3}. Done.", r"\{1,2,3\}", "Thus n = 12.\nTherefore A = {1, 2, 3}."),
    ("Not {1, 2, 3, 4}. Done.", r"\{1,2,3\}", None),
    ("所以答案是 18。让我再检查一下。", "18", "所以答案是 18。"),
    ("Nothing here.", "7", None),
    ("x^{14} and a_14 and 14x.", "14", None),
]


@pytest.mark.parametrize(("text", "reference", "kept"), LOCATED)
def test_the_answer_is_located_where_it_is_derived(text: str, reference: str, kept: str | None) -> None:
    end = first_sentence_with(text, reference)
    assert (None if end is None else text[:end]) == kept


def test_sentences_end_where_a_reader_would_end_them() -> None:
    text = (
        "It is 3.5, e.g. by hand. Is it? Yes! We have $a. b$ there.\n1. First item.\n"
        "\\[\nx = 1.\n\\]\nIt cost $5. Then $6."
    )
    assert [text[start:end] for start, end in sentences(text)] == [
        "It is 3.5, e.g. by hand.",
        "Is it?",
        "Yes!",
        "We have $a. b$ there.",
        "1. First item.",
        "\\[\nx = 1.\n\\]",
        "It cost $5.",
        "Then $6.",
    ]


@settings(deadline=None)
@given(text=st.text("ab 1.?!$\\[]()\n", max_size=200))
def test_sentences_cover_everything_but_white_space(text: str) -> None:
    spans = list(sentences(text))
    assert all(start < end for start, end in spans)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert re.sub(r"\s", "", "".join(text[start:end] for start, end in spans)) == re.sub(r"\s", "", text)


HOSTILE = {
    "braces": r"\boxed{" + "{" * 50_000 + "}" * 50_000 + "}",
    "open braces": "{" * 100_000,
    "open boxes": r"\boxed{" * 15_000,
    "nested boxes": r"\boxed{" * 15_000 + "5" + "}" * 15_000,
    "nested fractions": r"\boxed{" + r"\frac{1}{" * 60 + "2" + "}" * 60 + "}",
    "dollars": "$a" * 50_000,
    "brackets": r"\[" * 50_000,
    "stops": ". " * 50_000,
    "digits": r"\boxed{" + "1" * 500 + "}",
    "groups": "1,111" * 20_000,
    "blanks": "x" + " " * 100_000 + "y",
    "lines": "\n" * 100_000,
    "phrases": "answer is " * 10_000,
    "stars": "answer" + " *" * 50_000,
    "tower": r"\boxed{10^{10^{10}}}",
    "power": r"\boxed{1e999999999}",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_cheap_tier_is_quick_on_hostile_text(text: str) -> None:
    """Everything that runs in the engine's own process is linear in its input: the time-out would show it."""
    assert quick_verdict(text, "7") is not YES
    assert quick_verdict("The answer is 7.", text) is not YES
    worth_parsing(text, "7")
    final_answer(text)
    normalised(text)
    for reference in ("7", r"\frac{\pi}{2}", text):
        first_sentence_with(text, reference)


@pytest.mark.slow
async def test_hostile_mathematics_ends_within_the_limit_and_blocks_nothing() -> None:
    """Whatever the parser does with it, no verdict is Yes and an innocent neighbour gets its own."""
    async with Offload(workers=2, time_limit=3.0, warm_up=warm_up) as offload:

        async def judged(text: str) -> bool | None:
            try:
                return await offload.run(verdict, text, r"\sqrt{7}")
            except OffloadTimeout:
                return None

        texts = [r"\boxed{10^{10^{10}}}", r"\boxed{9^{9^{9^{9}}}!}", HOSTILE["nested fractions"], HOSTILE["braces"]]
        *hostile, innocent = await asyncio.gather(*map(judged, [*texts, r"\boxed{\frac{7}{\sqrt{7}}}"]))
    assert YES not in hostile
    assert innocent is YES


def test_importing_the_rule_imports_no_computer_algebra() -> None:
    """The engine's process stays light; sympy lives in the workers."""
    code = "import sys, workers.judge, workers.truncate; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PIECES = [
    "=",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "x",
    "y",
    "12",
    "3.5",
    "\\frac",
    "\\boxed{",
    "$",
    ",",
    "_",
    "^",
    "\\text{",
    " and ",
]
PIECES += [
    "\\pm",
    "%",
    "-",
    "/",
    "(B)",
    "A",
    "yes",
    "\\left(",
    "\\right)",
    "\\sqrt",
    "\n",
    "answer is ",
    "####",
    "°",
    "<",
    " cm",
]
mathematical = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@given(mathematical, mathematical)
def test_no_spelling_upsets_the_quick_tier(attempt: str, reference: str) -> None:
    assert quick_verdict(f"\\boxed{{{attempt}}}", reference) in {True, False, None}
    assert quick_verdict(attempt, reference) in {True, False, None}


LATEX = [
    *PIECES,
    "{}",
    "\\frac{}{}",
    "\\frac{",
    "}{",
    "\\sqrt{}",
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "\\\\",
    "&",
    "½",
    "²",
    "٣",
    "①",
    "π",
]
LATEX += ["so ", ". ", "! ", "? ", " is ", "e.g. ", "1. ", "[[1,2],[3,4]]", "twelve", "\u2028", "\x00"]
latex = st.lists(st.sampled_from(LATEX), max_size=30).map("".join)


@settings(max_examples=500, deadline=2000)
@given(latex, st.one_of(st.sampled_from(["5", "0.5", "\\frac{\\pi}{2}", "(1,2)", "B", "yes", "\\frac{}{}"]), latex))
def test_no_text_upsets_the_search_for_the_answer(text: str, reference: str) -> None:
    """Whatever a model writes: an end of a sentence or nothing, at once."""
    for end in (first_sentence_with(text, reference), first_sentence_with(text * 50, reference)):
        assert end is None or 0 < end <= 50 * len(text)


@pytest.mark.parametrize("fraction", [r"\frac{}{}", r"\frac{}{2}", r"\frac{1}{}", r"\frac{}2"])
def test_an_empty_fraction_is_no_accident(fraction: str) -> None:
    assert first_sentence_with(f"So {fraction} it is.", r"\frac{\pi}{2}") is None
    assert first_sentence_with("Nothing here.", fraction) is None


def test_equals_signs_inside_brackets_are_no_equation() -> None:
    assert quick_verdict("\\boxed{(x = 4)}", "4") is None
