"""What an attempt's final answer is, and what the rule makes of whole attempts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.answer_cases import NO, UNSURE, YES
from workers.answers import final_answer, quick_verdict, verdict, worth_parsing

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
