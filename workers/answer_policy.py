"""A strong model's answer that is not all it should be: its names, and asking again as the run's policy has it.

Another draw of the same trace differs by its number, which goes into its seed. A question that is tried again after it
had failed goes through the draws it had before, which the journal gives for nothing, and then has as many new ones.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

from weak2wise.config import AnswerPolicy
from weak2wise.errors import RecordError
from weak2wise.llm.call import current_call
from weak2wise.llm.model import Completion
from workers.trace_steps import split_steps, states_answer

Flaw = Literal["length", "content_filter", "empty", "no_final_answer"]

_SAID: dict[Flaw, str] = {
    "length": "the answer was cut off, by the token limit or as it only repeated itself",
    "content_filter": "the provider's content filter cut the answer off",
    "empty": "the answer has no text",
    "no_final_answer": "the answer has no step '## Final Answer'",
}


def flaws(completion: Completion) -> tuple[Flaw, ...]:
    """What is wrong with an answer, the cause before the effect; of one that says nothing at all, the cause alone."""
    empty = not completion.text.strip()
    found: dict[Flaw, bool] = {
        "length": completion.cut_off,
        "content_filter": completion.finish_reason == "content_filter",
        "empty": empty,
        "no_final_answer": not empty and not any(map(states_answer, split_steps(completion.text))),
    }
    named = tuple(flaw for flaw, is_so in found.items() if is_so)
    return named[:1] if completion.says_nothing else named


async def acceptable(
    ask: Callable[[int], Awaitable[Completion]], policies: AnswerPolicy, *, endpoint: str
) -> tuple[Completion, tuple[Flaw, ...]]:
    """Draw until an answer is acceptable; ``ask`` is given the draw's number, from 0.

    Returns:
        The answer and the flaws it was accepted with.

    Raises:
        RecordError: the last draw's flaw or refusal; at once, where asking again would not mend it. An answer that
            says nothing is not accepted whatever the policy; one that just stopped is drawn again, one that used its
            tokens up unseen would most likely do so again.
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
            found = flaws(completion)
            unwanted = next(
                (flaw for flaw in found if completion.says_nothing or getattr(policies, flaw) != "accept"), None
            )
            if unwanted is None:
                return completion, found
            failure = RecordError(unwanted, f"{endpoint}: {_SAID[unwanted]}", endpoint=endpoint, attempts=draw + 1)
        draw += 1
        policy = getattr(policies, failure.kind)
        again = policy == "retry" or (policy == "accept" and failure.kind == "empty")  # there is nothing to accept
        draws = 1 + (policies.retries if again else 0)
        if draw >= draws * (current_call().failures + 1):
            raise failure
