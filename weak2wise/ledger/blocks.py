"""Reads many lines that lie near each other, as the lines of rows in input order do: in blocks, not one by one.

Rows are worked on at once and end in another order than the input's, so the next row's line may lie a little before the
last one's. The blocks read last are kept for that.
"""

import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from weak2wise.ledger.places import place_of

_BLOCK = 1 << 15
_KEPT = 32


class Blocks:
    """Lines of shards, for one pass while nothing is appended to them; ``path_of`` gives the file of a number."""

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        self._block = lru_cache(_KEPT)(partial(_read, path_of))

    def line(self, location: int) -> bytes:
        """The line at a location, with its line break, if it has one. Blocks; raises ``OSError``."""
        shard, offset = place_of(location)
        number, begin = divmod(offset, _BLOCK)
        parts = []
        while block := self._block(shard, number):
            end = block.find(b"\n", begin) + 1
            parts.append(block[begin : end or None])
            if end:
                break
            number, begin = number + 1, 0
        return b"".join(parts)


def _read(path_of: Callable[[int], Path], shard: int, number: int) -> bytes:
    fd = os.open(path_of(shard), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, _BLOCK, number * _BLOCK)
    finally:
        os.close(fd)
