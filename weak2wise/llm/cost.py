"""The cost of all answers from a host's endpoints, earlier runs included, and its cap.

A call is counted when its answer reports the tokens it used. So calls in flight when the cap is reached can exceed it;
nothing else can, since the cap is checked right before a request is sent.
"""

import asyncio


class CostBudget:
    """US dollars spent; ``max_usd`` is the cap, ``None`` for no cap.

    ``exhausted`` is set when the first call cannot be sent because the cap is reached.
    """

    def __init__(self, max_usd: float | None = None) -> None:
        self.max_usd = max_usd
        self.spent = 0.0
        self.exhausted = asyncio.Event()

    def pay(self, usd: float) -> None:
        """Count the cost of an answer."""
        self.spent += usd

    def has_budget(self) -> bool:
        """Whether one more call may be sent."""
        empty = self.max_usd is not None and self.spent >= self.max_usd
        if empty:
            self.exhausted.set()
        return not empty
