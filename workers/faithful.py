"""Whether a strong trace arrives at the answer it was given.

A strong model is shown the reference answer and may still end with another one. The rule alone judges that, and only
where it is sure, so that no trace is marked only because it is written in another way.
"""

from workers.answers import final_answer
from workers.judge import Judge

MARK = "unfaithful"


async def contradicts(judge: Judge, trace: str, answer: str) -> bool:
    """Whether a trace states a final answer and the rule is sure that it is not the reference answer."""
    return final_answer(trace, judge.rules) is not None and await judge.rule(trace, answer) is False
