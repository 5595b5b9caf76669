"""The place of a line in a folder of shards, as one integer: its *location*."""

_OFFSET_BITS = 40  # a shard may hold a terabyte; 22 bits are left for its number


def location_of(shard: int, offset: int) -> int:
    """One integer for a place in a folder of shards."""
    return shard << _OFFSET_BITS | offset


def place_of(location: int) -> tuple[int, int]:
    """The shard and the offset of a location."""
    return location >> _OFFSET_BITS, location & ((1 << _OFFSET_BITS) - 1)
