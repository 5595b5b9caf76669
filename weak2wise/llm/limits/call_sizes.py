"""How many tokens the next call of a kind is expected to use, learned from the calls before it.

A kind is a role on an endpoint: its prompts come from one template and its answers from one model. The prompt is
estimated from the call's own length; the rest (the answer, and the error of that estimate) has a mean and a variance.

Short answers arrive first, so those that have arrived are not typical of all that were sent. Calls are therefore
counted in the order in which they were sent, in groups, and one that is still in flight counts as the longest possible.
The mean is that of the oldest groups, up to the one that makes it lowest: later ones are mostly in flight. One more
call of the greatest length is counted before all others, for what is not known as long as there are few.
"""

from collections import deque
from typing import Any, NamedTuple

GROUP = 16
"""Calls that are counted together."""
FEWEST, MEMORY = 128, 400
"""Calls that the mean is taken of, at least, if so many are answered; and answers after which a group is forgotten."""


class Expected(NamedTuple):
    """Tokens that a call is expected to use, with prompt: mean, variance, and the most.

    Rounding may bring a variance of zero below it.
    """

    mean: float
    variance: float
    most: float


class Group:
    """Calls sent one after another: how many, how many are answered, and their tokens (sum, sum of squares)."""

    __slots__ = ("answered", "forgotten", "sent", "squares", "tokens", "withheld")

    def __init__(self) -> None:
        self.sent = self.answered = 0
        self.tokens = self.squares = 0.0
        self.forgotten = False
        self.withheld: list[tuple[Any, float]] = []
        """What ``TokenLimit`` changes when all are over."""


class CallSizes:
    """The sizes of the calls of one kind: a ``role`` on an endpoint. ``longest`` is the longest answer in tokens."""

    def __init__(self, longest: float, role: str = "") -> None:
        self.role = role
        self._longest = longest
        self._groups: deque[Group] = deque()
        self._answered = 0
        """In all groups."""
        self._mean, self._variance = longest, 0.0

    def expect(self, prompt_tokens: float) -> Expected:
        """What a call with a prompt of about so many tokens is expected to use."""
        return Expected(max(1.0, prompt_tokens + self._mean), self._variance, prompt_tokens + self._longest)

    def sent(self) -> Group:
        """A call was sent; returns its group."""
        if not self._groups or self._groups[-1].sent >= GROUP:
            self._groups.append(Group())
        self._groups[-1].sent += 1
        return self._groups[-1]

    def ended(self, group: Group, rest: float | None) -> None:
        """A call of a group is over; ``rest``: the tokens it used beyond its prompt's estimate, if that is known."""
        if rest is None:
            group.sent -= 1
            return
        group.answered += 1
        if group.forgotten:
            return
        self._longest = max(self._longest, rest)
        group.tokens += rest
        group.squares += rest**2
        self._answered += 1
        while self._answered - self._groups[0].answered >= MEMORY:
            oldest = self._groups.popleft()
            oldest.forgotten = True
            self._answered -= oldest.answered
        self._learn()

    def _learn(self) -> None:
        number, tokens, squares = 0, 0.0, 0.0
        self._mean, self._variance = self._longest, 0.0
        for group in self._groups:
            unknown = group.sent - group.answered
            number += group.sent
            tokens += group.tokens + unknown * self._longest
            squares += group.squares + unknown * self._longest**2
            mean = (tokens + self._longest) / (number + 1)
            if number >= min(FEWEST, self._answered / 2) and mean <= self._mean:
                self._mean, self._variance = mean, squares / number - (tokens / number) ** 2
