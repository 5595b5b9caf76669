"""What the answers of a host's endpoints cost, earlier runs included, and what they may cost together.

A call is paid for when its answer says how many tokens it took. So what is in flight when the cap is reached can still
be charged; nothing else can, since the cap is checked right before a request goes out.
"""

import asyncio


class CostBudget:
    """US dollars spent; ``max_usd`` is the cap, if there is one.

    ``exhausted`` is set once a call could not be sent because nothing is left.
    """

    def __init__(self, max_usd: float | None = None) -> None:
        self.max_usd = max_usd
        self.spent = 0.0
        self.exhausted = asyncio.Event()

    def pay(self, usd: float) -> None:
        """Count what an answer cost."""
        self.spent += usd

    def has_budget(self) -> bool:
        """Whether there is money left for one more call."""
        empty = self.max_usd is not None and self.spent >= self.max_usd
        if empty:
            self.exhausted.set()
        return not empty
