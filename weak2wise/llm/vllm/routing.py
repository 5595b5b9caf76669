"""Which data parallel replica gets a call: calls of one row go to its home, or to its second home.

Their prompts begin alike, so its prefix cache has what they share. vLLM itself sends each call to the replica with the
fewest, which scatters them. Rows differ in how much there is to do, so a home is passed by when it has many more calls
than the replica with the fewest, or when it is full and that one has a free place: hardly a place stays empty for the
sake of the cache.
"""

from weak2wise.llm.homes import homes

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
        least = min(loads)
        most = least + self._slack
        if least < self._places:
            most = min(most, self._places)
        replica = next((home for home in homes(row, len(loads)) if loads[home] < most), loads.index(least))
        loads[replica] += 1
        return replica

    def give_back(self, replica: int) -> None:
        """A call is over."""
        self.loads[replica] -= 1
