"""What ``dataset.dedup`` takes: seconds and memory for an input of made-up questions of about 45 words.

``numbers``: every question has other numbers, as in mathematics, and one in ten is a near-duplicate. ``words``: no
question has a number and the answers are four letters, so that nothing but the words tells them apart: the worst case.

    python scripts/bench_dedup.py numbers|words [--questions 1000000]
"""

import argparse
import random
import resource
import time
from collections.abc import Iterator

from workers.dedup import near_duplicates

_RNG = random.Random(0)
WORDS = ["".join(_RNG.choices("abcdefghijklmnoprstuvw", k=_RNG.randrange(4, 9))) for _ in range(20_000)]
OPENING = "read the following and say which of the statements below follows from what is said"


def rows(kind: str, count: int) -> Iterator[tuple[int, str, str]]:
    """Row, question and answer, the same ones each time."""
    rng = random.Random(1)
    before = "", ""
    for row in range(1, count + 1):
        if row % 10 == 0:
            yield row, f"Please: {before[0]}", before[1]
            continue
        words = rng.choices(WORDS, k=30)
        if kind == "numbers":
            words[7], words[19] = str(rng.randrange(10_000)), str(rng.randrange(10_000))
        before = f"{OPENING} {' '.join(words)}?", rng.choice("ABCD")
        yield row, *before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kind", choices=["numbers", "words"])
    parser.add_argument("--questions", type=int, default=1_000_000)
    options = parser.parse_args()
    made = time.process_time()
    for _ in rows(options.kind, options.questions):
        pass
    made = time.process_time() - made
    before, began = _peak(), time.process_time()
    found = near_duplicates(lambda: rows(options.kind, options.questions), 0.8)
    took = time.process_time() - began - 2 * made
    print(
        f"{options.kind}: {options.questions:,} questions, {len(found):,} near-duplicates: {took:,.0f} CPU seconds "
        f"besides reading the input, {_peak() - before:,.0f} MB more than before"
    )


def _peak() -> float:
    """The most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
