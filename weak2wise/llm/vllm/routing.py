"""Which data parallel replica gets a call: all calls of one row go to the same one.

Their prompts begin alike, so its prefix cache has what they share. vLLM itself sends each call to the replica with the
fewest, which scatters them. Each row has a home, by its number: rows that are worked on at the same time have numbers
near each other, so their homes are spread evenly, and a row's home is the same after a restart. Rows differ in how much
there is to do, so a home is passed by for the replica with the fewest calls when it has many more calls than that one,
or when it is full and that one has a free place. So hardly a place stays empty for the sake of the cache.
"""

SLACK = 8
"""A home may have more calls than the replica with the fewest, by a share of its places: one in so many."""


class Routing:
    """The calls in each replica; ``places``: how many sequences one replica runs at once."""

    def __init__(self, replicas: int, places: int) -> None:
        self.loads = [0] * replicas
        self._places = places
        self._slack = max(1, places // SLACK)

    def take(self, row: int) -> int:
        """The replica for a call of this row; return it with ``give_back``."""
        loads = self.loads
        home = row % len(loads)
        least = min(loads)
        full = loads[home] >= self._places > least
        if full or loads[home] - least >= self._slack:
            home = loads.index(least)
        loads[home] += 1
        return home

    def give_back(self, replica: int) -> None:
        """A call is over."""
        self.loads[replica] -= 1
