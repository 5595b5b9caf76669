"""What the roles and steps of a start over parts did not achieve: judged over all parts, as on one machine."""

from collections.abc import Iterable

from weak2wise.llm.error_rate import Calls, CallsSeen, ErrorRate, Recent
from weak2wise.pipeline.stage import QuestionsSeen, step_shortfalls


class Shortfalls:
    """Counts what each lease has seen.

    Args:
        most: the largest share of calls or questions that may fail.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._rates: dict[str, ErrorRate] = {}
        self._calls: dict[str, Calls] = {}
        self._steps: dict[str, tuple[Recent, str]] = {}

    def add(self, calls: Iterable[CallsSeen], questions: Iterable[QuestionsSeen]) -> None:
        """Count the calls and questions of one lease."""
        for seen in calls:
            if seen.role not in self._calls:
                self._calls[seen.role] = Calls(seen.role)
                rate = seen.role.partition("/")[0]
                self._rates.setdefault(rate, ErrorRate(rate, self._most)).count(self._calls[seen.role])
            self._calls[seen.role].add(seen)
        for asked in questions:
            recent, last = self._steps.get(asked.step, (Recent(), ""))
            for kind in asked.kinds:
                recent.note(kind)
            self._steps[asked.step] = recent, asked.last or last

    def said(self) -> list[str]:
        """In sentences."""
        found = [text for rate in self._rates.values() for text in rate.shortfalls()]
        steps = [step_shortfalls(step, *state, self._most) for step, state in self._steps.items()]
        return found + [text for texts in steps for text in texts]
