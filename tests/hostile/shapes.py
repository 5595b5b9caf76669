"""Hostile texts: what a model, a provider or an input file may repeat until a careless reader takes quadratic time."""

from collections.abc import Callable, Mapping
from functools import cache

_REPEATED = (
    *("!", ".", "。.", ",", "-", "=", "7", "1,111", "not ", "the ", "answer is ", "(", "{", "}", "_", "^"),
    *("<", "<think>", "<answer>", "\\", "\\[", "\\frac{", "\\text{", "\\boxed{", "\\boxed{1} ", "$", "$a"),
    *("**", "* ", "#", "## a\n", "\n", " ", "\u2009", "\u0301\u0327", "\uff9e\u0301", "Ω\n", ". "),
)
_LED = (("^", " "), ("9", "\u2009"), ("9", " "), ("answer: ", " "), ("try again in ", "1"))
"""What makes a reader try the run that follows, and the run."""

Shape = Callable[[int], str]
"""Makes the text of about so many characters."""


def _run(unit: str, last: str) -> Shape:
    return cache(lambda size: unit * (size // len(unit)) + last)


def _led(start: str, unit: str) -> Shape:
    return cache(lambda size: start + unit * (size // len(unit)) + "x")


def _halves(one: str, other: str) -> Shape:
    return cache(lambda size: one * (size // 2 // len(one)) + other * (size // 2 // len(other)) + "x")


SHAPES: Mapping[str, Shape] = {
    **{f"{unit!r}": _run(unit, "x") for unit in _REPEATED},
    **{f"{start!r} and {unit!r}": _led(start, unit) for start, unit in _LED},
    **{f"{one!r}, then {other!r}": _halves(one, other) for one, other in (".)", "( ", "<>", "\\{")},
    "subtitles, then fences": _halves("## a\n", "```\n```\n"),
    "mixed": _run(
        "So $x. Y$ = $x = \\frac{1}{2}$, i.e. 0.5!! **No**:\n## 3) \\[y\\] is \\boxed{(a, b)} {1,000}...", "x"
    ),
}
