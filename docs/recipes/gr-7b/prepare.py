"""Fetch the three benchmarks of GR-7B's loop as ``{"id", "question", "answer"}`` lines.

    python docs/recipes/gr-7b/prepare.py [--out data]

MATH-500 and AIME24 are open on the Hugging Face Hub; GPQA Diamond is there for those who accept its conditions
(``hf auth login``). Its choices are put in an order that depends on the question alone, and the answer is a letter.
The 1,000 questions to learn from are yours: ``data/questions.jsonl``, in the same layout.
"""

import argparse
import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Line = dict[str, str]
LETTERS = "ABCD"


class Benchmark(NamedTuple):
    """Where a benchmark is, how many questions it has, and how one of its rows becomes ours."""

    name: str
    path: str
    config: str | None
    split: str
    count: int
    line: Callable[[Row], Line]


def math_line(row: Row) -> Line:
    """A row of MATH-500."""
    return {"id": row["unique_id"], "question": row["problem"], "answer": row["answer"]}


def aime_line(row: Row) -> Line:
    """A row of AIME24."""
    return {"id": str(row["id"]), "question": row["problem"], "answer": str(row["answer"])}


def gpqa_line(row: Row) -> Line:
    """A row of GPQA: the choices under the question."""
    question, right = row["Question"].strip(), row["Correct Answer"].strip()
    choices = [right, *(row[f"Incorrect Answer {number}"].strip() for number in (1, 2, 3))]
    digest = hashlib.sha256(question.encode()).hexdigest()
    random.Random(digest).shuffle(choices)
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
    return {
        "id": digest[:12],
        "question": f"{question}\n\n{listed}\n\nAnswer with the letter of the right choice.",
        "answer": LETTERS[choices.index(right)],
    }


BENCHMARKS = (
    Benchmark("math-500", "HuggingFaceH4/MATH-500", None, "test", 500, math_line),
    Benchmark("aime24", "HuggingFaceH4/aime_2024", None, "train", 30, aime_line),
    Benchmark("gpqa-diamond", "Idavidrein/gpqa", "gpqa_diamond", "train", 198, gpqa_line),
)


def write(benchmark: Benchmark, rows: Iterable[Row], folder: Path) -> int:
    """Write a benchmark's file; returns how many questions it has. Raises ``KeyError`` if a column is missing."""
    lines = [json.dumps(benchmark.line(row), ensure_ascii=False) for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{benchmark.name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def main(arguments: list[str] | None = None) -> int:
    """Fetch all three; 0 if each has as many questions as it should, 1 if not."""
    parser = argparse.ArgumentParser(description="Fetch MATH-500, AIME24 and GPQA Diamond.")
    parser.add_argument("--out", type=Path, default=Path("data"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    from datasets import load_dataset  # noqa: PLC0415 - slow to import

    code = 0
    for benchmark in BENCHMARKS:
        rows = load_dataset(benchmark.path, benchmark.config, split=benchmark.split)
        count = write(benchmark, rows, options.out)
        print(f"{benchmark.name}: {count:,} questions")
        if count != benchmark.count:
            print(f"error: {benchmark.name} should have {benchmark.count:,}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
