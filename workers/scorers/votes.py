"""The votes at one mask level: which attempt represents all of them, and when that is certain.

The earliest attempt of the largest group with one final answer represents all. That is often certain before all have
voted: with three votes, once the first two agree. So votes are asked for as long as they can matter: at first as few as
are enough if they agree, then more where they do not.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion
from workers.answers import final_answer, normalised
from workers.fanout import all_settled
from workers.rules import RULES


async def representative(
    ask: Callable[[int], Coroutine[Any, Any, Completion]],
    votes: int,
    wanted: Callable[[], bool],
    rules: int = RULES,
    *,
    at_once: bool = False,
) -> Completion | None:
    """The attempt that represents all votes; ``None`` if it is not wanted any more before that is certain.

    Args:
        ask: makes the attempt of a vote, by its number from 0.
        votes: how many there are at most.
        wanted: says before each round of votes whether to go on.
        rules: the version by which final answers are found.
        at_once: ask for all votes in one round: where answers come in batches, a second one may take a day.

    Raises:
        RecordError: the first failure in order, if the other votes do not make it certain. All have ended by then.
        ExceptionGroup: anything else, at once; of a single call it is not in a group.
    """
    if votes == 1:
        return await ask(0)  # whatever it says
    attempts: dict[int, Completion] = {}
    failures: list[RecordError] = []
    finals: dict[int, str | None] = {}
    asked = 0
    while (number := certain(finals, votes)) is None:
        more = votes - asked if at_once else fewest(finals, asked, votes)
        if not more:
            raise failures[0]
        if not wanted():
            return None
        numbers = range(asked, asked + more)
        asked += more
        for vote, attempt in zip(numbers, await all_settled(map(ask, numbers)), strict=True):
            if isinstance(attempt, RecordError):
                failures.append(attempt)
            else:
                attempts[vote], finals[vote] = attempt, spelled_answer(attempt.text, rules)
    return attempts[number]


def spelled_answer(attempt: str, rules: int = RULES) -> str | None:
    """An attempt's final answer as votes are counted; ``None`` if it has none."""
    final = final_answer(attempt.strip(), rules)
    return None if final is None else normalised(final, rules)


def certain(finals: Mapping[int, str | None], votes: int) -> int | None:
    """The vote that represents all, whatever those that are missing will say; ``None`` while that is open.

    Attempts without a final answer form no group; if no attempt has one, the first represents all.

    Args:
        finals: the final answers so far, by the number of their vote.
        votes: how many there are in all.
    """
    missing = votes - len(finals)
    groups = Counter(final for final in finals.values() if final is not None)
    if not groups:
        return None if missing else 0
    first = {final: vote for vote, final in sorted(finals.items(), reverse=True) if final is not None}
    leading = min(groups, key=lambda final: (-groups[final], first[final]))
    count, number = groups[leading], first[leading]
    if missing > count or any(vote not in finals for vote in range(number)):
        return None  # they may form a larger group, or put an earlier attempt into this one
    overtaken = any((-missing - groups[other], first[other]) < (-count, number) for other in groups if other != leading)
    return None if overtaken else number


def fewest(finals: Mapping[int, str | None], asked: int, votes: int) -> int:
    """How many votes more make it certain at best; 0 if none can, as a vote that failed might have mattered.

    Args:
        finals: the final answers so far, by the number of their vote.
        asked: how many votes were asked for; those without an entry in ``finals`` have failed.
        votes: how many there are in all.
    """
    groups = {final for final in finals.values() if final is not None} or {""}
    for more in range(1, votes - asked + 1):
        numbers = range(asked, asked + more)
        if any(certain({**finals, **dict.fromkeys(numbers, group)}, votes) is not None for group in groups):
            return more
    return 0
