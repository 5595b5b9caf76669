"""A row of the input as a file holds it, not checked yet."""

from collections.abc import Iterator
from typing import NamedTuple

from weak2wise.errors import Kind

LONGEST_LINE = 64 << 20
"""Bytes; a longer line is not a question, but a file in another format."""


class Broken(NamedTuple):
    """A row that cannot be read, and why."""

    number: int
    kind: Kind
    message: str


class Written(NamedTuple):
    """A row as JSON, not checked yet. ``number`` counts from 1: lines of a file of lines, else rows."""

    number: int
    json: bytes


Rows = Iterator[Written | Broken]
