"""Flaws of a strong model's answer: their names, and asking again as the run's policy says.

Another draw of the same trace has another number, which goes into its seed. When a failed question is tried again, it
repeats its earlier draws, which the journal answers at no cost, and then gets the same number of new ones.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

from weak2wise.config import AnswerPolicy
from weak2wise.errors import RecordError
from weak2wise.llm.call import current_call
from weak2wise.llm.model import Completion
from workers.rules import RULES
from workers.trace_steps import has_final_answer

Flaw = Literal["length", "content_filter", "empty", "no_final_answer"]

_MESSAGES: dict[Flaw, str] = {
    "length": "the answer was cut off, by the token limit or as it only repeated itself",
    "content_filter": "the provider's content filter cut the answer off",
    "empty": "the answer has no text",
    "no_final_answer": "the answer has no step '## Final Answer'",
}


def flaws(completion: Completion, rules: int = RULES) -> tuple[Flaw, ...]:
    """The flaws of an answer, the cause before the effect; only the cause if the answer says nothing at all."""
    empty = not completion.text.strip()
    found: dict[Flaw, bool] = {
        "length": completion.cut_off,
        "content_filter": completion.finish_reason == "content_filter",
        "empty": empty,
        "no_final_answer": not empty and not has_final_answer(completion.text, rules),
    }
    named = tuple(flaw for flaw, present in found.items() if present)
    return named[:1] if completion.says_nothing else named


async def acceptable(
    ask: Callable[[int], Awaitable[Completion]], policies: AnswerPolicy, *, endpoint: str, rules: int = RULES
) -> tuple[Completion, tuple[Flaw, ...]]:
    """Draw until an answer is acceptable; ``ask`` is given the draw's number, from 0.

    Returns:
        The answer and the flaws it was accepted with.

    Raises:
        RecordError: the last draw's flaw or refusal; without another draw if that would not help. An answer that says
            nothing is never accepted, whatever the policy. If it just stopped, it is drawn again; if it used up its
            tokens without any text, it would most likely do so again.
    """
    draw = 0
    while True:
        try:
            completion = await ask(draw)
        except RecordError as error:
            if error.kind != "content_filter":
                raise
            failure = error  # the prompt was refused, so there is nothing to accept
        else:
            found = flaws(completion, rules)
            unwanted = next(
                (flaw for flaw in found if completion.says_nothing or getattr(policies, flaw) != "accept"), None
            )
            if unwanted is None:
                return completion, found
            failure = RecordError(unwanted, f"{endpoint}: {_MESSAGES[unwanted]}", endpoint=endpoint, attempts=draw + 1)
        draw += 1
        policy = getattr(policies, failure.kind)
        again = policy == "retry" or (policy == "accept" and failure.kind == "empty")  # there is nothing to accept
        draws = 1 + (policies.retries if again else 0)
        if draw >= draws * (current_call().failures + 1):
            raise failure
