"""The steps of a trace: what its ``##`` subtitles divide it into."""

import re
from itertools import pairwise

_SUBTITLE = re.compile(r"^## ", re.MULTILINE)


def split_steps(step_reasoning: str) -> tuple[str, ...]:
    """The steps of a trace: each starts at a line that begins with ``## ``; the text before the first is not a step."""
    starts = [match.start() for match in _SUBTITLE.finditer(step_reasoning)]
    return tuple(step_reasoning[a:b].strip() for a, b in pairwise([*starts, len(step_reasoning)]))


def states_answer(step: str) -> bool:
    """Whether this is the step that states the answer."""
    return step.strip().lower().startswith("## final answer")
