"""The steps of a trace: what its ``##`` subtitles divide it into."""

import re
from itertools import pairwise

from workers.fences import fences
from workers.rules import RULES

_SUBTITLE = re.compile(r"^## ", re.MULTILINE)
_DRESS = r"[ \t*_:：.,()\[\]✅✓🎯—–-]"
_FINAL = re.compile(
    rf"##[ \t]{_DRESS}*(?:(?:step|part|第|步骤|步驟)?{_DRESS}{{0,9}}(?:\d{{1,3}}|[ivx]{{1,5}}|[一二三四五六七八九十]{{1,3}})(?:步)?{_DRESS}+|"
    rf"(?:step|last step|conclusion|the|our|最后一步|结论){_DRESS}+){{0,2}}"
    rf"(?:final answer(?:{_DRESS}|$)|(?:最终|最後|最后|最終)(?:的)?答案)",
    re.IGNORECASE | re.MULTILINE,
)
"""A subtitle that says "final answer" in other dress: bold, numbered, with more white space, in Chinese."""


def split_steps(step_reasoning: str, rules: int = RULES) -> tuple[str, ...]:
    """The steps of a trace: each starts at a line that begins with ``## ``; the text before the first is not a step.

    In a code fence such a line is a comment or a heading of something else.
    """
    inside = fences(step_reasoning) if rules >= 2 else []
    found = (match.start() for match in _SUBTITLE.finditer(step_reasoning))
    starts = [at for at in found if not any(start < at < end for start, end in inside)]
    return tuple(step_reasoning[a:b].strip() for a, b in pairwise([*starts, len(step_reasoning)]))


def states_answer(step: str, rules: int = RULES) -> bool:
    """Whether this is the step that states the answer."""
    plain = step.strip().lower().startswith("## final answer")
    return plain or (rules >= 2 and _FINAL.match(step.strip()) is not None)


def has_final_answer(step_reasoning: str, rules: int = RULES) -> bool:
    """Whether a trace has a step that states the answer."""
    return any(states_answer(step, rules) for step in split_steps(step_reasoning, rules))
