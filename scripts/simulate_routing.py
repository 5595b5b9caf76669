"""Simulates how many prompt tokens come from the prefix cache when several replicas score: no engine runs here.

Rows are scored by Step-Mask attempts. Their prompts share the template, the question and the beginning of a trace's
first step, as ``workers.scorers.masking`` makes them. Each replica has a prefix cache of blocks, the oldest of which is
given up first, and a number of places; an attempt holds a place for the tokens of its prompt that are not cached, which
are read many at a time, and for those of its answer, one a step. Compared are vLLM's own choice, the replica with the
fewest calls, and ours, by the code that the engine uses (``weak2wise.llm.vllm.routing``).

    python scripts/simulate_routing.py [--replicas 8] [--places 64] [--rows 2000]
"""

import argparse
import heapq
import random
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from weak2wise.llm.homes import homes
from weak2wise.llm.vllm.routing import Routing

BLOCK = 16
TEMPLATE = 40
CANDIDATES, LEVELS = 6, 6
READ_AT_ONCE = 200
"""Prompt tokens that are read in the time of one step."""
ADMISSION = 1.1


class Attempt(NamedTuple):
    """One attempt: its prompt as the names of its blocks, and how many tokens it writes."""

    row: int
    blocks: list[tuple[int, ...]]
    writes: int


class Replica:
    """One copy of the model."""

    def __init__(self, places: int, blocks: int) -> None:
        self.places = places
        self.waiting: deque[Attempt] = deque()
        self._cache: OrderedDict[tuple[int, ...], None] = OrderedDict()
        self._room = blocks

    def read(self, blocks: list[tuple[int, ...]]) -> int:
        """Read a prompt; returns how many of its blocks were cached."""
        cached = next((number for number, block in enumerate(blocks) if block not in self._cache), len(blocks))
        for block in reversed(blocks):  # so that the last ones are given up before those that lead to them
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > self._room:
            self._cache.popitem(last=False)
        return cached


class Result(NamedTuple):
    """The share of prompt tokens that were cached, the steps that it took, and the share of calls that left home."""

    cached: float
    steps: float
    elsewhere: float


def attempts(row: int, rng: random.Random) -> list[Attempt]:
    """A row's attempts, heaviest mask first, candidate by candidate in each."""
    question = int(rng.lognormvariate(4.4, 0.5))
    first = [int(rng.lognormvariate(3.7, 0.5)) for _ in range(CANDIDATES)]
    steps = [rng.randint(3, 10) for _ in range(CANDIDATES)]
    made = []
    for level in range(LEVELS):
        for c in range(CANDIDATES):
            kept = 1 - level / LEVELS
            shared = TEMPLATE + question
            length = int(shared + steps[c] * (first[c] * kept + 8))
            names: list[tuple[int, ...]] = []
            for number in range(length // BLOCK):
                end = (number + 1) * BLOCK
                of_step = end <= shared + first[c] * kept
                names.append(
                    (number,)
                    if end <= TEMPLATE
                    else (row, number)
                    if end <= shared
                    else (row, c, number)
                    if of_step
                    else (row, c, level, number)
                )
            made.append(Attempt(row, names, min(1024, int(rng.lognormvariate(5.0, 0.6)))))
    return made


class Simulation:
    """Scores ``rows`` rows, ``at_once`` of them at a time, each with its share of the calls that the engine takes.

    ``each``: attempts at a row.
    """

    def __init__(self, rows: int, at_once: int, each: int, replicas: list[Replica], take: Callable[[int], int]) -> None:
        self._rng = random.Random(1)
        self._rows = rows
        self._each = each
        self._at_once = at_once
        self._share = max(1, int(ADMISSION * sum(replica.places for replica in replicas)) // at_once)
        self._replicas = replicas
        self._take = take
        self._todo: dict[int, deque[Attempt]] = {}
        self._under_way: Counter[int] = Counter()
        self._ends: list[tuple[float, int, int, Attempt]] = []
        """Attempts that run: when each ends, its number, its replica."""
        self._now = 0.0
        self._begun = self._sent = self._elsewhere = self._blocks = self._cached = 0

    def run(self, give_back: Callable[[int], None]) -> Result:
        """Score all."""
        while self._begun < min(self._at_once, self._rows):
            self._begin()
        while self._ends:
            self._now, _, number, attempt = heapq.heappop(self._ends)
            self._replicas[number].places += 1
            give_back(number)
            row = attempt.row
            self._under_way[row] -= 1
            if self._todo[row]:
                self._ask(row)
            elif not self._under_way[row] and self._begun < self._rows:
                self._begin()
            self._start(number)
        return Result(self._cached / self._blocks, self._now, self._elsewhere / self._sent)

    def _begin(self) -> None:
        self._begun += 1
        self._todo[self._begun] = deque(attempts(self._begun, self._rng)[: self._each])
        for _ in range(self._share):
            self._ask(self._begun)

    def _ask(self, row: int) -> None:
        if not self._todo[row]:
            return
        number = self._take(row)
        self._elsewhere += number != homes(row, len(self._replicas))[0]
        self._under_way[row] += 1
        self._replicas[number].waiting.append(self._todo[row].popleft())
        self._start(number)

    def _start(self, number: int) -> None:
        replica = self._replicas[number]
        while replica.waiting and replica.places:
            attempt = replica.waiting.popleft()
            replica.places -= 1
            hit = replica.read(attempt.blocks)
            self._blocks += len(attempt.blocks)
            self._cached += hit
            self._sent += 1
            takes = (len(attempt.blocks) - hit) * BLOCK / READ_AT_ONCE + attempt.writes
            heapq.heappush(self._ends, (self._now + takes, self._sent, number, attempt))


def main() -> None:
    """Compare both ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replicas", type=int, default=8)
    parser.add_argument("--places", type=int, default=64, help="of each replica (max_num_seqs)")
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--attempts", type=int, default=36, help="of the 36 at a row; fewer: as racing saves them")
    parser.add_argument("--cache", type=int, default=200_000, help="tokens of each replica's prefix cache")
    options = parser.parse_args()
    table = Table("rows at once", "fewest calls: cached", "steps", "by row: cached", "steps", "away from home")
    for at_once in (32, 64, 128, 256):
        results = []
        for by_row in (False, True):
            routing = Routing(options.replicas, options.places)
            replicas = [Replica(options.places, options.cache // BLOCK) for _ in range(options.replicas)]

            def fewest(_: int, routing: Routing = routing) -> int:
                number = routing.loads.index(min(routing.loads))
                routing.loads[number] += 1
                return number

            take = routing.take if by_row else fewest
            results.append(Simulation(options.rows, at_once, options.attempts, replicas, take).run(routing.give_back))
        least, ours = results
        cells = (f"{least.cached:.1%}", f"{least.steps:,.0f}", f"{ours.cached:.1%}", f"{ours.steps:,.0f}")
        table.add_row(str(at_once), *cells, f"{ours.elsewhere:.0%}")
    console = Console(width=120)
    console.print(f"simulated: {options.replicas} replicas of {options.places} places, {options.rows} rows")
    console.print(table)


if __name__ == "__main__":
    main()
