"""Seeds that depend only on what is asked, so that the order of asking changes no answer."""

from hashlib import blake2b


def seed_of(*parts: str | int) -> int:
    """A seed from the parts that name a draw; 31 bits, which every provider accepts."""
    name = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(name, digest_size=4).digest(), "big") >> 1
