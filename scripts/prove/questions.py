"""Easy arithmetic word problems, made from a seed: questions to learn from, and held-out ones to be asked afterwards.

    python scripts/prove/questions.py --out FOLDER [--train 400] [--held-out 300] [--level 2] [--seed 0] [--file F]

writes ``FOLDER/train.jsonl`` and ``FOLDER/held-out.jsonl``, one ``{"id", "question", "answer"}`` a line. With
``--file`` no problem is made: the questions of that file are divided, one third held out, each only once.

No question is in both files, whatever the seeds: a problem is its story and its numbers, and a digest of these alone
says which of the two it may be in. Names and things are not part of it, so the same sum about somebody else does not
count as another problem. Answers are whole numbers above 0. Both files are drawn alike, in equal shares of the stories:
what is measured is how well a model does on new problems of the same kind.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

NAMES = (
    *("Amira", "Ben", "Chloe", "Daniel", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas"),
    *("Kira", "Leon", "Mina", "Noah", "Olga", "Pavel", "Rosa", "Samir", "Tara", "Viktor"),
)
THINGS = (
    *("apples", "marbles", "stickers", "pencils", "shells", "buttons"),
    *("stamps", "cards", "beads", "cookies", "balloons", "candles"),
)
ENDING = ' Show your work. End with "The answer is:" and the number.'
"""Of every question: an answer in one format can be judged without asking a model, whichever model gives it."""
LEVELS = (1, 2, 3)
PARTS = ("train", "held-out")


class Problem(NamedTuple):
    """One problem: its question, its answer, and what makes it another one: the story and its numbers."""

    question: str
    answer: int
    key: str


class _Draw:
    """What a story needs: a name or two, a thing, numbers in the range of the level."""

    def __init__(self, rng: random.Random, level: int) -> None:
        self._rng = rng
        self.name, self.other = rng.sample(NAMES, 2)
        self.thing = rng.choice(THINGS)
        self.top = {1: 12, 2: 20, 3: 50}[level]
        self.few = {1: 5, 2: 10, 3: 12}[level]

    def up_to(self, top: int, low: int = 2) -> int:
        """A whole number from ``low`` to ``top``."""
        return self._rng.randint(low, max(low, top))


Story = Callable[[_Draw], tuple[str, int, tuple[int, ...]]]
"""Draws the numbers and writes the story: the question, its answer, the numbers."""


def _gift(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b = d.up_to(d.top), d.up_to(d.top)
    return (
        f"{d.name} has {a} {d.thing}. {d.other} gives {d.name} {b} more. How many {d.thing} does {d.name} have now?",
        a + b,
        (a, b),
    )


def _eaten(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    b = d.up_to(d.top)
    a = b + d.up_to(d.top)
    return (
        f"There were {a} {d.thing} in a box. {d.name} took {b} of them. How many {d.thing} are still in the box?",
        a - b,
        (a, b),
    )


def _birds(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b = d.up_to(d.top), d.up_to(d.top)
    return f"{a} birds sit on a fence. Then {b} more birds come. How many birds sit on the fence now?", a + b, (a, b)


def _flown(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    b = d.up_to(d.top)
    a = b + d.up_to(d.top)
    return f"{a} birds sit in a tree. {b} of them fly away. How many birds are left in the tree?", a - b, (a, b)


def _walk(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b = d.up_to(d.top), d.up_to(d.top)
    return (
        f"{d.name} walks {a} miles on Saturday and {b} miles on Sunday. How many miles does {d.name} walk in all?",
        a + b,
        (a, b),
    )


def _eggs(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b = d.up_to(d.top), d.up_to(d.top)
    return (
        f"The hens lay {a} eggs in the morning and {b} eggs in the evening. How many eggs do they lay in total?",
        a + b,
        (a, b),
    )


def _sold(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    b = d.up_to(d.top)
    a = b + d.up_to(d.top)
    return f"A shop has {a} lamps. It sells {b} lamps. How many lamps does the shop have left?", a - b, (a, b)


def _bowls(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b = d.up_to(d.top), d.up_to(d.top)
    return (
        f"One bowl has {a} {d.thing} in it and another bowl has {b}. How many {d.thing} are in the two bowls together?",
        a + b,
        (a, b),
    )


def _shelves(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b = d.up_to(d.few), d.up_to(d.few)
    return f"A shelf holds {a} jars. How many jars fit on {b} shelves like it?", a * b, (a, b)


def _shared(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    b, each = d.up_to(d.few), d.up_to(d.few)
    return (
        f"{d.name} shares {b * each} {d.thing} equally among {b} friends. How many {d.thing} does each friend get?",
        each,
        (b, each),
    )


def _bus(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    b, c = d.up_to(d.few), d.up_to(d.few)
    a = b + d.up_to(d.top)
    return (
        (
            f"A bus leaves with {a} people. At the first stop {b} people get off and {c} people get on. "
            "How many people are on the bus after that stop?"
        ),
        a - b + c,
        (a, b, c),
    )


def _tickets(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, price = d.up_to(d.few), d.up_to(d.few)
    return (
        f"A ticket for the boat costs {price} dollars. {d.name} buys {a} tickets. How many dollars does {d.name} pay?",
        a * price,
        (a, price),
    )


def _change(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    spent = d.up_to(d.top)
    had = spent + d.up_to(d.top)
    return (
        f"{d.name} goes to the market with {had} dollars and spends {spent} of them. How many dollars are left?",
        had - spent,
        (had, spent),
    )


def _age(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    age, more = d.up_to(d.top, 4), d.up_to(d.top)
    return (
        f"{d.name} is {age} years old. {d.other} is {more} years older. How old is {d.other}?",
        age + more,
        (age, more),
    )


def _boxes(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b, c = d.up_to(d.few), d.up_to(d.few), d.up_to(d.few)
    return (
        (
            f"{d.name} packs {a} boxes with {b} {d.thing} each and has {c} {d.thing} left over. "
            f"How many {d.thing} are there altogether?"
        ),
        a * b + c,
        (a, b, c),
    )


def _pages(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, b, c = d.up_to(d.top), d.up_to(d.top), d.up_to(d.top)
    return (
        (
            f"{d.name} reads {a} pages on Monday, {b} pages on Tuesday and {c} pages on Wednesday. "
            f"How many pages does {d.name} read in the three days?"
        ),
        a + b + c,
        (a, b, c),
    )


def _garden(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    rows, plants = d.up_to(d.few), d.up_to(d.few)
    dry = d.up_to(rows * plants - 1, 1)
    return (
        f"In a garden stand {rows} rows of {plants} plants. {dry} of the plants dry out. How many plants are left?",
        rows * plants - dry,
        (rows, plants, dry),
    )


def _earned(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    days, pay = d.up_to(d.few), d.up_to(d.few)
    spent = d.up_to(days * pay - 1, 1)
    return (
        (
            f"{d.name} earns {pay} dollars a day for {days} days and then spends {spent} dollars. "
            f"How many dollars does {d.name} have left?"
        ),
        days * pay - spent,
        (days, pay, spent),
    )


def _more_than(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    a, more = d.up_to(d.top), d.up_to(d.few)
    return (
        f"{d.name} found {a} {d.thing}. {d.other} found {more} more than {d.name}. How many did they find in all?",
        2 * a + more,
        (a, more),
    )


def _half(d: _Draw) -> tuple[str, int, tuple[int, ...]]:
    half, more = d.up_to(d.top), d.up_to(d.few)
    return (
        (
            f"{d.name} has {2 * half} {d.thing} and gives half of them to {d.other}. Then {d.name} buys {more} more. "
            f"How many {d.thing} does {d.name} have now?"
        ),
        half + more,
        (half, more),
    )


SUMS: tuple[Story, ...] = (_gift, _eaten, _change, _age, _birds, _flown, _walk, _eggs, _sold, _bowls)
PRODUCTS: tuple[Story, ...] = (_shelves, _shared, _tickets)
TWO_STEPS: tuple[Story, ...] = (_bus, _boxes, _pages, _garden, _earned, _more_than, _half)


def stories(level: int) -> tuple[Story, ...]:
    """The stories of a level: 1 adds or subtracts small numbers; 2 also multiplies; 3 also takes two steps."""
    return {1: SUMS, 2: SUMS + PRODUCTS, 3: SUMS + PRODUCTS + TWO_STEPS}[level]


def part_of(key: str) -> str:
    """Which file a problem may be in: two of three keys are for training."""
    return PARTS[hashlib.sha256(key.encode()).digest()[0] % 3 == 0]


def problems(part: str, count: int, *, level: int, seed: int) -> Iterator[Problem]:
    """``count`` different problems of one part, the stories in turn.

    Raises:
        ValueError: the level does not have so many.
    """
    rng = random.Random(f"{part}/{level}/{seed}")
    written, seen = stories(level), set[str]()
    for number in range(count):
        story = written[number % len(written)]
        for _ in range(10_000):
            text, answer, numbers = story(_Draw(rng, level))
            key = f"{story.__name__}{numbers}"
            if answer > 0 and key not in seen and part_of(key) == part:
                break
        else:
            raise ValueError(
                f"level {level} has fewer than {count:,} different problems for {part}; take fewer, or a higher level"
            )
        seen.add(key)
        yield Problem(text, answer, key)


def generated(counts: dict[str, int], *, level: int, seed: int) -> dict[str, list[dict[str, str]]]:
    """The rows of each part. Raises ``ValueError`` as ``problems``."""
    return {
        part: [
            {"id": f"{part}-{number:04}", "question": problem.question + ENDING, "answer": str(problem.answer)}
            for number, problem in enumerate(problems(part, count, level=level, seed=seed), 1)
        ]
        for part, count in counts.items()
    }


def divided(file: Path, counts: dict[str, int]) -> dict[str, list[dict[str, str]]]:
    """The rows of a file, divided by a digest of the question's words; of each part at most as many as ``counts``.

    Raises:
        ValueError: a line is not a question, or a part has none.
    """
    rows: dict[str, dict[str, dict[str, str]]] = {part: {} for part in counts}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            question, answer = str(row["question"]), str(row["answer"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f'{file}, line {number}: expected {{"question": …, "answer": …}}') from None
        words = " ".join(question.casefold().split())
        rows[part_of(words)].setdefault(words, {"id": f"line-{number}", "question": question, "answer": answer})
    if empty := [part for part, found in rows.items() if not found]:
        raise ValueError(f"{file}: too few questions: none is left for {', '.join(empty)}")
    return {part: list(found.values())[: counts[part]] for part, found in rows.items()}


def write(folder: Path, parts: dict[str, list[dict[str, str]]]) -> None:
    """Write a file for each part; the last one is there only if all are. Raises ``OSError``."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        half = folder / f".{part}.tmp"
        half.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        half.replace(folder / f"{part}.jsonl")


def main(arguments: list[str] | None = None) -> int:
    """Write both files; 0 if they are there, 2 if there are not so many problems, or the file has none."""
    parser = argparse.ArgumentParser(description="Make easy arithmetic word problems from a seed, or divide a file.")
    parser.add_argument("--out", type=Path, required=True, help="the folder for train.jsonl and held-out.jsonl")
    parser.add_argument("--train", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--held-out", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--level", type=int, choices=LEVELS, default=2, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--file", type=Path, help="divide these questions; none is made")
    options = parser.parse_args(arguments)
    counts = dict(zip(PARTS, (options.train, options.held_out), strict=True))
    try:
        parts = (
            divided(options.file, counts) if options.file else generated(counts, level=options.level, seed=options.seed)
        )
        write(options.out, parts)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
