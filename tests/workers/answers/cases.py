"""What the tests of the rule share: its three verdicts, how a pair of answers is checked, and hostile texts."""

from workers.answers.algebra import compare
from workers.answers.compare import quick_compare

YES, NO, UNSURE = True, False, None

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
    "denials": "not " * 25_000 + r"\boxed{5}" + " not" * 25_000,
    "styles": r"\textbf{" * 15_000 + r"\boxed{5}" + "}" * 15_000,
    "signs": "-" * 100_000 + r"\boxed{5}" + "%" * 100_000,
    "leads": "so the " * 15_000 + "answer is 5.",
    "option": r"\boxed{(A) " + "a " * 250 + "}",
    "tower": r"\boxed{10^{10^{10}}}",
    "power": r"\boxed{1e999999999}",
}


def check(answer: str, reference: str, expected: bool | None) -> None:
    """The comparison says what is expected; the quick tier says it too or leaves it open; no doubt depends on sides."""
    assert compare(answer, reference) is expected
    assert quick_compare(answer, reference) in (expected, UNSURE)
    if expected is UNSURE:
        assert compare(reference, answer) is not YES


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
