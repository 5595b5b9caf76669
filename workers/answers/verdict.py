r"""Does an attempt give the reference answer? Yes, no, or not sure: never a guess.

Two tiers. The quick one compares spellings, plain numbers, choice letters and words, in microseconds and in any
process. The other parses mathematics (``workers.answers.algebra``), which may hang or crash and so needs a
process that can be killed. Both return ``None`` wherever a person would have to look at the question: for rounding,
left-out units, a factored polynomial against an expanded one, a list in another order, two boxes side by side.
"""

from collections.abc import Callable

from workers.answers.compare import Compare, is_choice, quick_compare
from workers.answers.extract import Final, bare_reference, find_final, has_no_answer
from workers.answers.number import read_number
from workers.answers.respell import respelled
from workers.answers.text import LONGEST, looks_mathematical, plain
from workers.rules import RULES

_MOST_RIVALS = 8


def quick_verdict(attempt: str, reference: str, *, cut_off: bool = False, rules: int = RULES) -> bool | None:
    """The quick tier: what is certain without parsing mathematics, or ``None``. An empty attempt is wrong.

    Args:
        attempt: the whole attempt.
        reference: the reference answer, or a whole solution that ends in it.
        cut_off: the attempt was cut off before its end; if it has no answer by then, it is wrong.
        rules: the version of the rules.
    """
    return _verdict(attempt, reference, quick_compare, cut_off=cut_off, rules=rules)


def verdict(attempt: str, reference: str, cut_off: bool = False, rules: int = RULES) -> bool | None:
    """Both tiers. May run for long on hostile input: call it in a process that can be killed."""
    from workers.answers.algebra import compare  # noqa: PLC0415 - it imports sympy

    return _verdict(attempt, reference, compare, cut_off=cut_off, rules=rules)


def worth_parsing(attempt: str, reference: str, rules: int = RULES) -> bool:
    """Could the parsing tier decide what the quick one could not? True if both sides look like mathematics.

    Two plain numbers or two options that the quick tier doubted stay in doubt: no parser knows what was asked.
    """
    final = find_final(attempt, rules)
    if final is None or not final.clear:
        return False
    given, wanted = _spelled(final.text, rules), _spelled(bare_reference(reference, rules), rules)
    if not (looks_mathematical(given) and looks_mathematical(wanted)):
        return False
    numbers = read_number(given, rules) is not None and read_number(wanted, rules) is not None
    return not numbers and not is_choice(wanted)


def normalised(answer: str, rules: int = RULES) -> str:
    r"""A spelling that equal answers usually share, for counting votes.

    Wrappers, white space, ``\text{}`` and case are gone; a bare number is its exact value. A unit or a percent sign
    stays, so "50%" and "50" are counted separately.
    """
    if len(answer) <= LONGEST:
        answer = _spelled(answer, rules)
        number = read_number(answer, rules)
        if number is not None and number.unit is None and not number.percent:
            return str(number.value)
        answer = plain(answer)
    return answer.strip().casefold()


def _spelled(answer: str, rules: int) -> str:
    return answer if rules < 2 else respelled(answer)


def _verdict(
    attempt: str, reference: str, compare: Callable[[str, str, int], bool | None], *, cut_off: bool, rules: int
) -> bool | None:
    if not attempt.strip():
        return False
    final = find_final(attempt, rules)
    if final is None:
        return False if cut_off and has_no_answer(attempt) else None
    if not final.clear or (cut_off and final.how != "box"):
        return None  # "the answer is 1" may have become "the answer is 18"
    wanted = _spelled(bare_reference(reference, rules), rules)

    def same(answer: str, reference: str) -> bool | None:
        return compare(_spelled(answer, rules), reference, rules)

    return _with_rivals(final, wanted, same)


def _with_rivals(final: Final, reference: str, compare: Compare) -> bool | None:
    """Compare the final answer; ``None`` where other answers make the result doubtful."""
    result = compare(final.text, reference)
    if final.beside:
        return True if result and all(compare(rival, reference) for rival in final.beside) else None
    if result is not False or not final.earlier:
        return result
    spread = "," in plain(reference) or r"\pm" in reference  # its parts may have a box each
    rivals = final.earlier
    if spread or len(rivals) > _MOST_RIVALS or any(compare(rival, reference) is not False for rival in rivals):
        return None
    return False
