"""What an attempt's final answer is, and what the rule makes of whole attempts."""

import pytest
from hypothesis import given, settings, strategies as st

from tests.workers.answers.cases import NO, UNSURE, YES
from workers.answers import bare_reference, final_answer, in_brief, quick_verdict, verdict, worth_parsing

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
    ("Therefore, she makes $18 every day.", None),
    ("So, 6 times 7 equals 42.", None),
    ("<think>so the answer is 6", None),
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
    (r"x=-\boxed{3} or x=\boxed{5}", "-3", UNSURE),
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
]


TAKEN_BACK = [
    "Let me check whether the answer is 5.\n\nNo, it is 6.",
    "Could it be that the answer is 5?",
    "It would be wrong to say the answer is 5.",
    "If the answer is 5 then the total would be 10.",
    "I doubt that the answer is 5.",
    "Suppose the answer is 5. Then x = 3. So",
    "The answer is 5. Wait, no. It's 7.",
    "The hint says the answer is 5. But I get 7.",
    "My friend says the answer is 5.",
    "Step 2: the answer is 5. Step 3: we add 2.",
    "Thus, x is not equal to 5.",
    "So 2x = 5.",
    "Therefore, step 5 is complete.",
    "So we need 5 more steps.",
    r"\boxed{5}, which is wrong.",
    "\\boxed{5}\n\nThe answer is not 5 but 6.",
    r"Is it \boxed{5}? No.",
    r"The answer cannot be \boxed{5}.",
    r"<think>\boxed{5}",
]

TOUCHED = [
    (r"$\boxed{5}$ cm", r"5\text{ m}", NO),
    (r"$\boxed{500}$ cm", r"5\text{ m}", YES),
    (r"\boxed{5}\text{ cm}", "5 cm", YES),
    (r"\boxed{5} minutes.", "5 hours", NO),
    (r"\boxed{5} apples are left", "5", YES),
    (r"\boxed{50}\%", "0.5", YES),
    (r"$\boxed{50}\%$.", "50", YES),
    (r"\boxed{5}^\circ", "5", YES),
    (r"\boxed{5} million", "5000000", YES),
    (r"\boxed{5} million", "5", UNSURE),
    (r"\$\boxed{5}", "5 dollars", YES),
    (r"$-\boxed{5}$", "-5", YES),
    (r"$-\boxed{5}$", "5", NO),
    (r"$x = -\boxed{5}$", "-5", YES),
    (r"$\boxed{3\sqrt{2}}$ cm", r"3\sqrt{2}", YES),
]
UNCLEAR_BOXES = r"""
- \boxed{5} | 3 - \boxed{5} | -\boxed{-5} | 2\boxed{5} | 2 \boxed{5} | x\boxed{5} | 0.\boxed{5} | x > \boxed{5}
x \neq \boxed{5} | x \not= \boxed{5} | x != \boxed{5} | x \le\boxed{5} | \approx \boxed{5} | \pm\boxed{5}
\sqrt{\boxed{5}} | \frac{1}{\boxed{5}} | x^{\boxed{5}} | \left|\boxed{5}\right| | (3, \boxed{5}) | (\boxed{5}, 3)
\boxed{5}/7 | \boxed{5}^2 | \boxed{5}! | \boxed{5}x | \boxed{5}\pi | \boxed{5} + 2 | \boxed{5} and 3 | \boxed{5}.5
\boxed{5}, 6 | \boxed{5},000 | \boxed{5}_8 | \boxed{5}' | \boxed{5}:3 | \boxed{5} halves | \boxed{5}\text{ or }6
at least \boxed{5} | not \boxed{5} | less than $\boxed{5}$ | about \boxed{5} | \boxed{5} \boxed{}
"""
PLAIN_BOXES = r"""
$\boxed{5}$ | \[x = \boxed{5}.\] | **$\boxed{5}$** | **Answer: \boxed{5}** | * \boxed{5} | 1. \boxed{5} | (\boxed{5})
\( \boxed{5} \) | \begin{align*} x &= \boxed{5} \end{align*} | x &= \boxed{5} \\ | \text{Answer: }\boxed{5}
\textbf{\boxed{5}} | \therefore \boxed{5} | we get $2 \cdot 3 = \boxed{5}$ | \boxed{5} is the answer
It is \boxed{5}, as required. | $\boxed{5}$ because $2+3=5$ | Since 3 is not 4, the answer is \boxed{5}.
"""


def each(texts: str) -> list[str]:
    """The texts of a list with bars between them."""
    return [text.strip() for line in texts.strip().splitlines() for text in line.split(" | ")]


@pytest.mark.parametrize("attempt", TAKEN_BACK)
def test_what_is_supposed_quoted_or_taken_back_is_no_clear_answer(attempt: str) -> None:
    for reference in ("5", "6", "7"):
        assert verdict(attempt, reference) is UNSURE


@pytest.mark.parametrize(("attempt", "reference", "expected"), TOUCHED)
def test_what_touches_a_box_belongs_to_the_answer(attempt: str, reference: str, expected: bool | None) -> None:
    assert verdict(attempt, reference) is expected
    assert in_brief(attempt) == attempt


@pytest.mark.parametrize("attempt", each(UNCLEAR_BOXES))
def test_a_box_that_something_else_touches_is_not_clear(attempt: str) -> None:
    for reference in ("5", "-5", "6", "5/7"):
        assert verdict(attempt, reference) is UNSURE
    assert in_brief(attempt) == attempt


@pytest.mark.parametrize("attempt", each(PLAIN_BOXES))
def test_what_only_surrounds_a_box_says_nothing(attempt: str) -> None:
    assert quick_verdict(attempt, "5") is YES
    assert quick_verdict(attempt, "6") is NO
    assert in_brief(attempt) == r"The final answer is \boxed{5}."


SOLUTIONS = [
    ("He has 9 * 8 = <<9*8=72>>72 eggs.\n#### 72", "72"),
    ("He earns 3.\n#### 1,080", "1,080"),
    (r"Since $x-2=3$, we have $x = \boxed{5}$.", "5"),
    (r"The area is $\boxed{3\sqrt{2}}$.", r"3\sqrt{2}"),
    (r"\boxed{\text{(B)}}", "B"),
]


@pytest.mark.parametrize(("reference", "answer"), SOLUTIONS)
def test_a_reference_may_be_a_whole_solution(reference: str, answer: str) -> None:
    assert verdict(rf"So \boxed{{{answer}}}.", reference) is YES
    assert verdict(r"So \boxed{7}.", reference) is (UNSURE if answer == "B" else NO)
    assert verdict("So", reference, cut_off=True) is NO


def test_a_solution_with_several_answers_is_no_reference() -> None:
    reference = r"Either $\boxed{3}$ or $\boxed{5}$."
    assert bare_reference(reference) == reference
    assert verdict(r"\boxed{5}", reference) is UNSURE


CUT_OFF = [
    ("First we add 2 and 3, which", NO),
    ("<think>So 5 it is. Let me check", NO),
    (r"Put the answer in \boxed{}. We", NO),
    ("The answer is 5", UNSURE),
    ("The answer is 5.", UNSURE),
    ("#### 5", UNSURE),
    (r"So \boxed{5", UNSURE),
    (r"So \boxed{5}. We add", YES),
    (r"So \boxed{6}. We add", NO),
    (r"So \boxed{5}. Wait", UNSURE),
]


@pytest.mark.parametrize(("attempt", "expected"), CUT_OFF)
def test_an_attempt_cut_off_before_it_came_to_an_answer_is_wrong(attempt: str, expected: bool | None) -> None:
    assert quick_verdict(attempt, "5", cut_off=True) is expected
    assert verdict(attempt, "5", cut_off=True) is expected
    assert "boxed" in attempt or quick_verdict(attempt, "5") is not NO


@pytest.mark.parametrize(("attempt", "answer"), FINAL_ANSWERS)
def test_the_final_answer_is_the_one_the_attempt_commits_to(attempt: str, answer: str | None) -> None:
    found = final_answer(attempt)
    assert found == answer or (found is not None and answer is not None and found == answer.partition(", because")[0])


@pytest.mark.parametrize(("attempt", "reference", "expected"), VERDICTS)
def test_a_verdict_is_never_a_guess(attempt: str, reference: str, expected: bool | None) -> None:
    assert verdict(attempt, reference) is expected
    assert quick_verdict(attempt, reference) in (expected, UNSURE)


def test_parsing_is_offered_only_where_it_can_help() -> None:
    assert worth_parsing(r"\boxed{\sqrt{25}}", "5")
    assert not worth_parsing(r"\boxed{18.5}", "18")  # a doubt about rounding: no parser knows
    assert not worth_parsing(r"\boxed{12}", "(C)")
    assert not worth_parsing(r"\boxed{the cat sat on the mat}", "5")
    assert not worth_parsing("no answer at all", "5")


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
