"""Measure the rule judge on real questions: how fast it is, how much it decides, and whether it is ever wrong.

Every reference answer is turned into attempts whose label is known: other spellings of it (right), near misses (wrong),
and the answers of other questions where they are clearly different (wrong). Wrong verdicts are listed and make the exit
code 1; so does a share of undecided ones above ``--most-unsure``.

    python scripts/bench_judge.py --data ../shared/data
"""

import argparse
import asyncio
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from weak2wise.offload import Offload
from workers.answers import quick_verdict, warm_up
from workers.judge import Judge, Verdict

FILES = ("gsm8k", "math500", "svamp", "aime24")
FRAMES = (
    "We add them up. The answer is $\\boxed{{{}}}$.",
    "So we are done.\n\n\\[\\boxed{{{}}}\\]",
    "First we find $2 + 2 = 4$.\n\nTherefore, the final answer is \\boxed{{{}}}",
)
PLAIN = re.compile(r"-?\d+(\.\d+)?")
FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")


class Row(msgspec.Struct):
    """One line of a data file."""

    question: str
    answer: str


class Pair(NamedTuple):
    """An attempt at a question, and whether it is right."""

    answer: str
    reference: str
    right: bool


class Silent:
    """Prompts of a judge that asks nobody."""

    def judge(self, question: str, attempt: str, answer: str) -> str:
        """No model is there to read it."""
        return f"{question}{attempt}{answer}"


def spellings(answer: str) -> Iterator[str]:
    """Ways to write the same answer."""
    yield answer
    yield f" {answer} "
    if "left" not in answer:
        yield answer.replace(r"\frac", r"\dfrac").replace("(", r"\left(").replace(")", r"\right)")
    if "!" not in answer and "_" not in answer:
        yield re.sub(r"(?<=[-+=,])\s*|\s*(?=[-+=,])", " ", answer)
    if PLAIN.fullmatch(answer):
        value = float(answer)
        yield f"{value:.2f}" if value == round(value, 2) else answer
        yield rf"{answer} \text{{ apples}}"
        yield f"x = {answer}"
        yield rf"\text{{{answer}}}"
        yield rf"\${answer}"
        if value == int(value):
            yield f"{int(value):,}"
            yield f"{int(value):,}".replace(",", "{,}")
            yield rf"\frac{{{2 * int(value)}}}{{2}}"
            yield f"{int(value)} dollars"
    elif answer.startswith(r"\text{"):
        yield answer[6:-1]
        yield answer[6:-1].upper() if len(answer) > 11 else answer
    elif found := FRACTION.fullmatch(answer):
        yield f"{found[1]}{found[2]}/{found[3]}"
        yield rf"\frac{{{found[1]}{3 * int(found[2])}}}{{{3 * int(found[3])}}}"


def near_misses(answer: str) -> Iterator[str]:
    """Answers that are close and wrong."""
    if PLAIN.fullmatch(answer):
        value = float(answer)
        if value == int(value):
            number = int(value)
            yield from (str(number + 1), str(number - 1), f"{number + 1} dollars", str(number + 100))
            yield from ([str(-number), str(10 * number)] if number else [])
            if (turned := str(number)[::-1]) != str(number) and number > 0:
                yield turned.lstrip("0") + "1"
        return
    for found in list(re.finditer(r"\d", answer))[:4]:
        if "_" not in answer[max(0, found.start() - 2) : found.start()]:
            yield answer[: found.start()] + str((int(found[0]) + 1) % 9 + 1) + answer[found.end() :]
    if re.match(r"[\d\\x]", answer) and not re.search(r"\\text|\\\$|\\pm|[,=]", answer):
        yield f"-{answer}"


def size(answer: str) -> float | None:
    """The value of a plain number or fraction, found without the rule's own reader."""
    if PLAIN.fullmatch(answer):
        return float(answer)
    found = FRACTION.fullmatch(answer)
    return None if found is None else float(found[1] + "1") * int(found[2]) / int(found[3])


def pairs(references: list[str], rng: random.Random) -> Iterator[Pair]:
    """All labelled pairs of one file."""
    for reference in references:
        yield from (Pair(text, reference, right=True) for text in spellings(reference))
        yield from (Pair(text, reference, right=False) for text in near_misses(reference))
        for other in rng.sample(references, min(6, len(references))):
            one, two = size(other), size(reference)
            if one is not None and two is not None and abs(one - two) > 1:
                yield Pair(other, reference, right=False)


async def measure(name: str, folder: Path, judge: Judge, table: Table) -> tuple[list[str], float]:
    """Judge all pairs of one file; returns the wrong verdicts and the undecided share."""
    path = folder / f"{name}.jsonl"
    rows = [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]
    rng = random.Random(0)
    todo = [(pair, rng.choice(FRAMES).format(pair.answer)) for pair in pairs([row.answer for row in rows], rng)]
    start = time.perf_counter()
    quick = sum(quick_verdict(attempt, pair.reference) is not None for pair, attempt in todo)
    quick_seconds = time.perf_counter() - start
    start = time.perf_counter()
    verdicts: list[Verdict] = await asyncio.gather(
        *(judge("", attempt, pair.reference, seed=0) for pair, attempt in todo)
    )
    seconds = time.perf_counter() - start
    judged = list(zip(todo, verdicts, strict=True))
    unsure = [pair for (pair, _), verdict in judged if verdict.by != "rule"]
    wrong = [
        f"{name}: {pair.answer!r} against {pair.reference!r}: said {verdict.correct}"
        for (pair, _), verdict in judged
        if verdict.by == "rule" and verdict.correct != pair.right
    ]
    table.add_row(
        name,
        str(len(todo)),
        f"{len(todo) / quick_seconds:,.0f}",
        f"{len(todo) / seconds:,.0f}",
        f"{quick / len(todo):.1%}",
        f"{1 - len(unsure) / len(todo):.1%}",
        str(len(wrong)),
    )
    for pair in unsure if table.caption else ():
        Console(stderr=True).print(f"unsure: {pair}", markup=False, highlight=False)
    return wrong, len(unsure) / len(todo)


async def main() -> int:
    """Measure every file and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the .jsonl files")
    options.add_argument("--workers", type=int, default=1, help="processes for the parsing tier")
    options.add_argument("--most-unsure", type=float, default=0.10, help="largest undecided share that passes")
    options.add_argument("--show-unsure", action="store_true", help="list the undecided pairs")
    chosen = options.parse_args()
    table = Table("file", "pairs", "quick/s", "all/s", "quick decides", "rule decides", "wrong", title="rule judge")
    table.caption = "undecided pairs are on stderr" if chosen.show_unsure else None
    wrong: list[str] = []
    most = 0.0
    async with Offload(workers=chosen.workers, warm_up=warm_up) as offload:
        judge = Judge(prompts=Silent(), offload=offload, mode="rule")
        await judge("", r"\boxed{\sqrt{4}}", r"\sqrt{5}", seed=0)  # starts the worker
        for name in FILES:
            mistakes, unsure = await measure(name, chosen.data, judge, table)
            wrong += mistakes
            most = max(most, unsure)
    console = Console()
    console.print(table)
    for line in wrong:
        console.print(line, markup=False, highlight=False)
    return 1 if wrong or most > chosen.most_unsure else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
