"""Short digests of values that are too long, too free in form or too private to be kept as they are."""

import hashlib

import msgspec

DIGEST = "digest "
"""What a digest in place of a value begins with."""


def digest(value: object) -> str:
    """A short, stable digest of any JSON-like value."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
