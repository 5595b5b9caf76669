"""The most that one call to an endpoint may cost, for the cost budget.

A prompt has at most as many tokens as UTF-8 bytes, since no token is shorter than a byte; the chat template adds some.
An answer has at most ``max_tokens``. Where none is sent, or an endpoint does not keep to it, the longest answer seen
takes its place, and the log says so: then a call may cost more than was reserved. So does what a provider adds to a
prompt, if it is more than that.
"""

from collections.abc import Callable

from weak2wise.llm.model import Usage
from weak2wise.telemetry.log import host_log

TEMPLATE_TOKENS = 256
"""For the chat template: the marks of a few turns, and a short system prompt of its own."""


class WorstCase:
    """The most that a call to one endpoint may cost.

    Args:
        endpoint: its name.
        cost: US dollars for a call.
        most_tokens: of the longest answer that a request allows; ``None`` if it sets no limit.
        guess: the same in that case, until an answer is seen.
    """

    def __init__(self, endpoint: str, cost: Callable[[Usage], float], most_tokens: int | None, guess: int = 0) -> None:
        self.endpoint = endpoint
        self._cost = cost
        self._sent = most_tokens
        self._answer = guess if most_tokens is None else most_tokens
        self._added = TEMPLATE_TOKENS
        self._seen = 0
        self._said = False

    def usd(self, prompt_bytes: int) -> float:
        """US dollars for a prompt with so many bytes of UTF-8."""
        if self._sent is None and not self._said:
            self._say()
        prompt = prompt_bytes + self._added
        return max(self._cost(Usage(prompt, self._answer, cached)) for cached in (0, prompt))

    def note(self, prompt_bytes: int, usage: Usage) -> None:
        """An answer to a prompt of so many bytes arrived."""
        self._added = max(self._added, usage.prompt_tokens - prompt_bytes)
        if usage.completion_tokens > self._seen:
            self._seen = usage.completion_tokens
            if self._sent is None:
                self._answer = self._seen
            elif self._seen > self._answer:
                self._answer = self._seen
                if not self._said:
                    self._say()

    def _say(self) -> None:
        self._said = True
        why = "no max_tokens is sent" if self._sent is None else f"it answered more than max_tokens ({self._sent:,})"
        host_log.warning(
            "money.no_bound",
            endpoint=self.endpoint,
            why=why,
            effect="the cap may be exceeded: reserved is the cost of the longest answer so far",
        )
