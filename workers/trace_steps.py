"""The steps of a trace: what its ``##`` subtitles divide it into."""

import re
from functools import lru_cache
from itertools import dropwhile, pairwise

from workers.fences import fences, outside
from workers.rules import RULES

_SUBTITLE = re.compile(r"^## ", re.MULTILINE)
_DRESS = re.compile(r"[\s*_#:：.,、()\[\]✅✓🎯—–-]+")
_LEADS = frozenset(["step", "part", "the", "our", "last", "conclusion", "最后一步", "结论"])
_NUMBER = re.compile(r"(?:第|步骤|步驟)?(?:\d{1,3}|[ivx]{1,5}|[一二三四五六七八九十]{1,3})步?")
_FINAL = re.compile(r"final answer\b|(?:最终|最後|最后|最終)的?答案")


@lru_cache(maxsize=8)  # whether a trace states its answer is asked before its steps are kept
def split_steps(step_reasoning: str, rules: int = RULES) -> tuple[str, ...]:
    """The steps of a trace: each starts at a line that begins with ``## ``; the text before the first is not a step.

    In a code fence such a line is a comment or a heading of something else.
    """
    inside = fences(step_reasoning) if rules >= 2 else []
    starts = outside(inside, (match.start() for match in _SUBTITLE.finditer(step_reasoning)))
    return tuple(step_reasoning[a:b].strip() for a, b in pairwise([*starts, len(step_reasoning)]))


def states_answer(step: str, rules: int = RULES) -> bool:
    """Whether this is the step that states the answer."""
    plain = step.strip().lower().startswith("## final answer")
    return plain or (rules >= 2 and _is_final(step.strip().partition("\n")[0]))


def _is_final(subtitle: str) -> bool:
    """Whether a subtitle says "final answer" in other dress: bold, numbered, with more white space, in Chinese."""
    words = filter(None, _DRESS.split(subtitle.removeprefix("## ").lower()))
    bare = dropwhile(lambda word: word in _LEADS or _NUMBER.fullmatch(word), words)
    return subtitle.startswith("## ") and _FINAL.match(" ".join(bare)) is not None


def has_final_answer(step_reasoning: str, rules: int = RULES) -> bool:
    """Whether a trace has a step that states the answer."""
    return any(states_answer(step, rules) for step in reversed(split_steps(step_reasoning, rules)))
