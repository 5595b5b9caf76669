"""Short digests of values that are too long, too free in form or too private to be stored."""

import hashlib

import msgspec

DIGEST = "digest "
"""The prefix of a digest that is stored in place of a value."""


def digest(value: object) -> str:
    """A short, stable digest of any JSON-like value."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
