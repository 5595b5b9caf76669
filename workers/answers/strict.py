r"""The strict reading of an attempt: an answer counts only in a format that could be asked for.

The formats: one box; a line of its own after ``####`` at the very end; between ``<answer>`` tags; or nothing but the
answer, in one short line, as the response of our training data has it after its thinking (``<think> … </think> 42``).
"""

from workers.answers.extract import BARE, BRIEFLY, find_final, without_thinking
from workers.rules import RULES


def in_strict_format(attempt: str, rules: int = RULES) -> str | None:
    r"""What is to be judged of an attempt that gives its answer in such a format; ``None`` if it does not.

    That is the attempt itself, or, where it is nothing but a line that the rule does not know for an answer, the line
    in a box. The attempt must have been finished by its author.
    """
    final = find_final(attempt, rules)
    spoken = without_thinking(attempt)
    if final is None:
        return BRIEFLY % spoken if spoken and "\n" not in spoken and len(spoken) <= BARE else None
    if not final.clear or final.beside or final.earlier:
        return None
    if final.how == "phrase" and not spoken.rpartition("\n")[2].startswith("####"):
        return None
    return attempt
