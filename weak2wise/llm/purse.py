"""What the answers of all endpoints cost, earlier runs included, and what they may cost together.

A call is paid for when its answer says how many tokens it took, so what is in flight when the purse is found empty can
still be charged; nothing else can, for the emptiness is noticed right before a request goes out.
"""

import asyncio
from collections.abc import Awaitable, Callable


class Purse:
    """One engine's money in US dollars; ``most`` is the cap, if there is one.

    ``park`` is awaited by calls for which nothing is left and must not return; ``wanted`` tells that there is one.
    """

    def __init__(self, most: float | None, park: Callable[[], Awaitable[None]]) -> None:
        self.most = most
        self.spent = 0.0
        self.wanted = asyncio.Event()
        self._park = park

    def pay(self, usd: float) -> None:
        """An answer has cost so much."""
        self.spent += usd

    async def open(self) -> None:
        """Go on at once if there is money left, else wait to be cancelled."""
        if self.most is not None and self.spent >= self.most:
            self.wanted.set()
            await self._park()
