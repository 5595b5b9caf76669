r"""Answers: finding them, comparing them, and locating them in a text, without asking any model.

Everything here is pure and synchronous. Only ``verdict`` parses mathematics and so may be slow, hang or crash on
hostile input: it is meant to run in a process that can be killed (``weak2wise.process_pool``), where ``warm_up`` does
its imports first. The rest takes microseconds to milliseconds and imports nothing heavy.
"""

from workers.answers.extract import bare_reference, final_answer, in_brief
from workers.answers.locate import first_sentence_with
from workers.answers.verdict import normalised, quick_verdict, verdict, worth_parsing

__all__ = [
    "bare_reference",
    "final_answer",
    "first_sentence_with",
    "in_brief",
    "normalised",
    "quick_verdict",
    "verdict",
    "warm_up",
    "worth_parsing",
]


def warm_up() -> None:
    """Import what ``verdict`` needs (a second or two) and let its parser build its tables."""
    from workers.answers import algebra  # noqa: PLC0415 - it imports sympy

    algebra.warm_up()
