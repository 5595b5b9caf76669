"""What the answers of all endpoints cost, earlier runs included, and what they may cost together.

A call is paid for when its answer says how many tokens it took, so what is in flight when the purse is found empty can
still be charged; nothing else can, for the emptiness is noticed right before a request goes out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from weak2wise.llm.model import Usage


async def _forget(_usage: Usage) -> None:
    """For calls outside a run."""


write_off: ContextVar[Callable[[Usage], Awaitable[None]]] = ContextVar("write_off", default=_forget)
"""Writes down what the call at hand was charged for an answer that cannot be used, so that the next run knows of it."""


class Purse:
    """One engine's money in US dollars; ``most`` is the cap, if there is one.

    ``wanted`` tells that there is a call for which nothing is left.
    """

    def __init__(self, most: float | None = None) -> None:
        self.most = most
        self.spent = 0.0
        self.wanted = asyncio.Event()

    def pay(self, usd: float) -> None:
        """An answer has cost so much."""
        self.spent += usd

    def open(self) -> bool:
        """Whether there is money left for one more call."""
        empty = self.most is not None and self.spent >= self.most
        if empty:
            self.wanted.set()
        return not empty
