"""Measure the rule judge on real questions: how fast it is, how much it decides, and whether it is ever wrong.

Every reference answer is turned into attempts whose label is known: other spellings of it (right), near misses (wrong),
and the answers of other questions where they are clearly different (wrong). Families of answers that data sets hold few
of (mixed numbers, intervals, units, huge numbers, ...) are generated, as the row "constructed". Wrong verdicts are
listed. They make the exit code 1, as does a share of undecided ones above ``--most-unsure`` in any file.

    python scripts/bench_judge.py --data folder
    python scripts/bench_judge.py --data questions.jsonl --work-dir work
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

from weak2wise.config import PromptTexts
from weak2wise.process_pool import KillablePool
from workers.answers import bare_reference, quick_verdict, warm_up
from workers.judge import Judge, Verdict
from workers.prompts import Prompts

ROOT = Path(__file__).parents[1]
DATA = ROOT / "scripts" / "quickstart" / "questions.jsonl"
"""The default of ``--data``."""
FRAMES = (
    "We add them up. The answer is $\\boxed{{{}}}$.",
    "So we are done.\n\n\\[\\boxed{{{}}}\\]",
    "First we find $2 + 2 = 4$.\n\nTherefore, the final answer is \\boxed{{{}}}",
)
PLAIN = re.compile(r"-?\d+(\.\d+)?")
FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
DRAWS = 60
"""Number of draws of each constructed family."""


class Row(msgspec.Struct):
    """One line of a data file."""

    question: str
    answer: str | int | float


class Pair(NamedTuple):
    """An attempt at a question, and whether it is right."""

    attempt: str
    reference: str
    right: bool
    cut_off: bool = False


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
    """The value of a plain number or fraction, computed without the rule's own parser."""
    if PLAIN.fullmatch(answer):
        return float(answer)
    found = FRACTION.fullmatch(answer)
    return None if found is None else float(found[1] + "1") * int(found[2]) / int(found[3])


def framed(answer: str, rng: random.Random) -> str:
    """An attempt with this answer in its box."""
    return rng.choice(FRAMES).format(answer)


def pairs(references: list[str], rng: random.Random) -> Iterator[Pair]:
    """All labelled pairs of one file."""
    bare = [bare_reference(reference) for reference in references]
    for reference, answer in zip(references, bare, strict=True):
        yield from (Pair(framed(text, rng), reference, right=True) for text in spellings(answer))
        yield from (Pair(framed(text, rng), reference, right=False) for text in near_misses(answer))
        for other in rng.sample(bare, min(6, len(bare))):
            one, two = size(other), size(answer)
            if one is not None and two is not None and abs(one - two) > 1:
                yield Pair(framed(other, rng), reference, right=False)


def answers(n: int, m: int, k: int) -> Iterator[tuple[str, str, bool]]:
    """Constructed answers and references, from three different whole numbers above 1, and whether they are equal."""
    # mixed numbers
    top, bottom = (n * (k + m) + k, k + m)
    yield f"{n} {k}/{bottom}", rf"\frac{{{top}}}{{{bottom}}}", True
    yield rf"{n}\frac{{{k}}}{{{bottom}}}", f"{n} {k}/{bottom}", True
    yield f"{n} {k}/{bottom}", f"{n}{k}/{bottom}", int(f"{n}{k}") == top
    yield f"{n} {m}", f"{n}{m}", False
    yield f"{n} and {k}/{bottom}", f"{n}, {k}/{bottom + 1}", False
    # intervals and points
    low, high = -n, m
    yield f"[{low}, {high})", f"[{low},{high})", True
    yield rf"x \in ({low}, {high}]", f"({low},{high}]", True
    yield f"({low},{high}]", f"[{low},{high})", False
    yield f"[{low},{high})", f"[{low},{high + 1})", False
    yield rf"(-\infty,{high})", rf"(-\infty,{high}]", False
    yield f"({n},000)", f"({n},0)", False
    yield f"({n},{m})", f"({m},{n})", False
    # units
    yield rf"{n}\text{{ m}}", f"{100 * n} cm", True
    yield f"{n} hours", f"{60 * n} minutes", True
    yield f"{n} cm", rf"{n}\text{{ m}}", False
    yield f"{n} minutes", f"{n} hours", False
    yield rf"{n}\text{{ kg}}", rf"{n}\text{{ g}}", False
    yield f"{n} boxes", f"{m} boxes", False
    for word in ("hundred", "halves", "sevenths", "lakh", "dozen", "March", "below zero", "squared", "grand", "pm"):
        yield f"{n} {word}", f"{n}", False
        yield rf"{n}\text{{ {word}}}", f"{n}", False
    # scale words
    yield f"{n} million", f"{n}000000", True
    yield rf"{n}.5\text{{ million}}", f"{n},500,000", True
    yield f"{n} hundred", f"{n}00", True
    yield f"{n} Thousand dollars", rf"\${n},000", True
    yield f"{n} million", f"{n} billion", False
    # huge and tiny numbers
    power = 100 * n + m
    yield rf"2^{{{power}}}", rf"2 \cdot 2^{{{power - 1}}}", True
    yield rf"2^{{{power}}}", rf"2^{{{power}}}-1", False
    yield f"{20 + n}!", f"{20 + n}!+1", False
    yield rf"2^{{-{power}}}", "0", False
    yield rf"10^{{-{power}}}", rf"10^{{-{power + 1}}}", False
    yield rf"{n}-\frac{{1}}{{2^{{{power}}}}}", f"{n}", False
    # formulas
    yield f"(x+{n})(x-{m})", f"(x-{m})(x+{n})", True
    yield rf"\frac{{x}}{{{n}}}+{m}", rf"{m}+\frac{{x}}{{{n}}}", True
    yield rf"{n}\sqrt{{2}}", rf"\sqrt{{{2 * n * n}}}", True
    yield f"y = {n}x+{m}", f"{n}x - y + {m} = 0", True
    yield f"{n}x+{m}", f"{n}x-{m}", False
    yield f"x^{{{n}}}", f"x^{{{n + 1}}}", False
    yield f"y = {n}x+{m}", f"y = {n}x-{m}", False
    yield rf"\log_{{{n}}} x", rf"\log_{{{n + 1}}} x", False
    yield f"{n}({m})", f"{n + m}", n * m == n + m
    yield f"({n})({m})", f"{n * m}", True
    yield rf"\sin {n}^\circ", rf"\sin {n}", False
    yield f"{n}AB", f"{n}BA", False
    yield rf"{n}\Delta", rf"{n}\delta", False
    yield f"{n}~p", f"{n + 1}p", False
    yield rf"\begin{{vmatrix}}{n}&0\\0&{m}\end{{vmatrix}}", rf"\begin{{pmatrix}}{n}&0\\0&{m}\end{{pmatrix}}", False


def options(one: str, other: str, n: int) -> Iterator[tuple[str, str, bool]]:
    """Constructed options and references, from two letters."""
    yield f"({one}) {n}", one, True
    yield rf"\textbf{{({one})}}\ {n}", f"({one})", True
    yield f"({one.lower()})", one, True
    yield f"{one}", f"({one}) {n} red balls", True
    yield f"({other}) {n}", one, False
    yield f"({one}) {other}", one, False
    yield f"{one}: {n}, {other}: {n}", one, False
    yield f"{one}.{other}", one, False
    yield f"({one})^{n}", one, False
    yield f"({one}) is wrong", one, False
    yield f"not {one}", one, False


def attempts(n: int, m: int, k: int) -> Iterator[Pair]:
    """Constructed attempts with more text than the box, or without a box."""
    yield Pair(rf"Thus $-\boxed{{{n}}}$.", f"-{n}", right=True)
    yield Pair(rf"Thus $\boxed{{{n}}}\%$.", f"{n / 100}", right=True)
    yield Pair(rf"$\boxed{{{n}}}$ cm", f"{n} cm", right=True)
    yield Pair(rf"\boxed{{{n}}} million", f"{n}000000", right=True)
    yield Pair(f"So the answer is {n}.", f"{n}", right=True)
    yield Pair(f"#### {n}", f"{n}", right=True)
    for text in (
        rf"Thus $-\boxed{{{n}}}$.",
        rf"$\boxed{{{n}}}/{m}$",
        rf"$x > \boxed{{{n}}}$",
        rf"$x \neq \boxed{{{n}}}$",
        rf"$\sqrt{{\boxed{{{n}}}}}$",
        rf"$\boxed{{{n}}}^2$",
        rf"It is not \boxed{{{n}}}.",
        rf"\boxed{{{n}}} million",
        rf"\boxed{{{n}}}. Wait, that is wrong: it is {m}.",
        f"Thus, x is not equal to {n}.",
        f"So {k}x = {n}.",
        f"Therefore, step {n} is complete.",
        f"The hint says the answer is {n}. But I get {m}.",
        f"The answer is {n}. Wait, no. It is {m}.",
        f"If the answer is {n}, then we get {m}.",
    ):
        yield Pair(text, f"{n}", right=False)
    yield Pair(rf"$\boxed{{{n}}}$ cm", rf"{n}\text{{ m}}", right=False)
    yield Pair(rf"\boxed{{{n}}} minutes", f"{n} hours", right=False)
    yield Pair(f"We add {m} and {k}, then", f"{n}", right=False, cut_off=True)
    yield Pair(rf"\boxed{{{n}}}. We check that", f"{n}", right=True, cut_off=True)


def constructed(rng: random.Random) -> Iterator[Pair]:
    """Pairs of all families, and each pair of answers both ways round."""
    for _ in range(DRAWS):
        n, m, k = rng.sample(range(2, 20), 3)
        one, other = rng.sample("ABCDFGH", 2)
        for answer, reference, right in (*answers(n, m, k), *options(one, other, n)):
            yield Pair(framed(answer, rng), reference, right)
            yield Pair(framed(reference, rng), answer, right)
        yield from attempts(n, m, k)


async def measure(name: str, todo: list[Pair], judge: Judge, table: Table) -> tuple[list[str], float]:
    """Judge all pairs of one file; returns the wrong verdicts and the undecided share."""
    start = time.perf_counter()
    quick = sum(quick_verdict(pair.attempt, pair.reference, cut_off=pair.cut_off) is not None for pair in todo)
    quick_seconds = time.perf_counter() - start
    start = time.perf_counter()
    verdicts: list[Verdict] = await asyncio.gather(
        *(judge("", pair.attempt, pair.reference, seed=0, cut_off=pair.cut_off) for pair in todo)
    )
    seconds = time.perf_counter() - start
    judged = list(zip(todo, verdicts, strict=True))
    unsure = [pair for pair, verdict in judged if verdict.by != "rule"]
    wrong = [
        f"{name}: {pair.attempt!r} against {pair.reference!r}: said {verdict.correct}"
        for pair, verdict in judged
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


def read(source: Path) -> Iterator[tuple[str, list[str]]]:
    """The name and the reference answers of each file; ends the program with one line if there are none."""
    paths = sorted(source.glob("*.jsonl")) if source.is_dir() else [source]
    try:
        for path in paths:
            rows = [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines() if line.strip()]
            yield path.stem, [str(row.answer) for row in rows]
    except (OSError, msgspec.DecodeError) as error:
        sys.exit(
            f"{path}: {error}; --data takes a .jsonl file with a question and an answer a line, or a folder of them"
        )
    if not paths:
        sys.exit(
            f"{source}: holds no .jsonl file; --data takes a file with a question and an answer a line, or a folder"
        )


def decided(work_dir: Path) -> str:
    """What decided the verdicts of a run's last start, in one line."""
    try:
        counts = msgspec.json.decode((work_dir / "summary.json").read_bytes())["this_start"]["verdicts"]
    except (OSError, msgspec.DecodeError, KeyError) as error:
        sys.exit(f"{work_dir}: {error}; --work-dir takes the work_dir of a run that has ended")
    total = sum(counts.values()) or 1
    shares = (f"{count:,} by {by} ({count / total:.1%})" for by, count in counts.items())
    return f"{work_dir}: " + (", ".join(shares) or "no verdicts")


async def main() -> int:
    """Measure every file and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="a .jsonl file of questions and answers, or a folder")
    parser.add_argument(
        "--work-dir", type=Path, help="also print what decided the verdicts of the run in this work_dir"
    )
    parser.add_argument("--workers", type=int, help="processes for the parsing tier")
    parser.add_argument("--most-unsure", type=float, default=0.10, help="largest undecided share that passes")
    parser.add_argument("--show-unsure", action="store_true", help="list the undecided pairs")
    chosen = parser.parse_args()
    files = list(read(chosen.data))
    run = decided(chosen.work_dir) if chosen.work_dir else ""
    table = Table("file", "pairs", "quick/s", "all/s", "quick decides", "rule decides", "wrong", title="rule judge")
    table.caption = "undecided pairs are on stderr" if chosen.show_unsure else None
    most = 0.0
    async with KillablePool(workers=chosen.workers, warm_up=warm_up) as pool:
        judge = Judge(prompts=Prompts.of(PromptTexts()), pool=pool, mode="rule")
        await judge("", r"\boxed{\sqrt{4}}", r"\sqrt{5}", seed=0)  # starts the worker
        wrong, _ = await measure("constructed", list(constructed(random.Random(0))), judge, table)
        for name, references in files:
            mistakes, unsure = await measure(name, list(pairs(references, random.Random(0))), judge, table)
            wrong += mistakes
            most = max(most, unsure)
    console = Console()
    console.print(table)
    for line in (*wrong, *([run] if run else ())):
        console.print(line, markup=False, highlight=False)
    return 1 if wrong or most > chosen.most_unsure else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
