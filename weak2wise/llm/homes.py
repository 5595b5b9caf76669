"""Where the calls of one row go, of several copies of a model: to the same one, whose prefix cache has what they share.

Rows that are worked on at the same time have numbers near each other, so taking the number modulo the copies spreads
them evenly, and a row has the same homes after a restart. The second home is for the calls for which the first one has
too much to do; it spreads those evenly whose first home is the same, as when only every eighth row is left.
"""


def homes(row: int, copies: int) -> tuple[int, int]:
    """The first and the second choice for a row, from 0 to ``copies - 1``; they may be the same."""
    return row % copies, row // copies % copies
