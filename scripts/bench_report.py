"""Time and memory of the report of a long run: ``report`` over a work_dir of random records.

Writes ledgers and a journal like those of a run (two strong models, six mask levels, a third of the questions solved
by the weak LLM), then runs ``python -m weak2wise.engine report`` on them.

Run: python scripts/bench_report.py [--questions 100000]
"""

import argparse
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from scripts.measured import run_program
from tests.engine_runs import ROOT
from weak2wise.ledger.lines import sealed
from weak2wise.ledger.manifest import InputDigest, Manifest
from weak2wise.ledger.outcomes import Done, Dropped
from weak2wise.llm.journal import Answer
from weak2wise.llm.model import Completion, Usage
from workers.records import Candidate, Golden, Question, Scored, SftRow, Traced, Unsolved
from workers.scorers.masking import score

STRONG = ("strong-a", "strong-b")
SHAPE = {
    "models.mweak": "weak",
    "models.mstrong": ", ".join(STRONG),
    "models.judge": "None",
    "models.truncation": "None",
    "params.judge_mode": "cascade",
}
SENTENCE = "We add the parts \\(a_i\\) one after another and see that the sum is what was asked for. "


def _row(row: int, rng: random.Random) -> Iterator[tuple[str, Any]]:
    """The lines of one question, each with the name of its folder."""
    question = Question(row=row, id=None, text=f"What is {row} + {row}? {SENTENCE * 2}", answer=str(2 * row))
    usage = Usage(prompt_tokens=200, completion_tokens=300)

    def answer(role: str, endpoint: str, text: str) -> tuple[str, Any]:
        completion = Completion(text=text, finish_reason="stop", usage=usage)
        return "journal", Answer(row, f"{rng.getrandbits(128):032x}", role, endpoint, completion)

    yield answer("weak", "weak", SENTENCE * 4)
    if rng.random() < 1 / 3:
        yield "filter", Dropped(row, "weak_solves")
        return
    yield "filter", Done(row, Unsolved(question=question, weak_attempt=SENTENCE * 4), 1.0)
    candidates = []
    for name in STRONG:
        steps = tuple(f"## Step {number}\n{SENTENCE * 2}" for number in range(4))
        whole = SENTENCE * rng.randint(10, 60)
        text = "\n\n".join(steps)
        candidates.append(
            Candidate(m_strong=name, sample=0, step_reasoning=text, step_list=steps, normal=whole, normal_is_own=True)
        )
        yield answer(f"strong/{name}", name, text + whole)
    bits = [[int(rng.random() < 0.9 - 0.1 * level) for level in range(6)] for _ in STRONG]
    scores = tuple(score(row_bits, beta=0.5, normalization="reference") for row_bits in bits)
    for _ in range(6 * len(STRONG)):
        yield answer("weak", "weak", SENTENCE * 4)
    yield "generate", Done(row, Traced(question=question, candidates=tuple(candidates)), 20 * rng.random())
    yield "stepmask", Done(row, Scored(question=question, candidates=tuple(candidates), scores=scores), rng.random())
    best = max(range(len(STRONG)), key=lambda at: scores[at].score)
    cut = candidates[best].normal[: rng.randint(5, 10) * len(SENTENCE)]
    golden = Golden(question=question, winner=candidates[best], score=scores[best], truncated=cut, cut_by="anchor")
    yield "select", Done(row, golden, 0.1)
    yield "sft", Done(row, SftRow(question=question, prompt=question.text, response=cut), 0.0)


def make(folder: Path, questions: int) -> int:
    """Write a work_dir of ``questions`` questions and return its size in bytes."""
    rng = random.Random(questions)
    encode = msgspec.json.Encoder().encode
    files: dict[str, BinaryIO] = {}
    for name in ("journal", "filter", "generate", "stepmask", "select", "sft"):
        shards = folder / "ledger" / name
        shards.mkdir(parents=True)
        files[name] = (shards / "00000.jsonl").open("wb")
    for row in range(1, questions + 1):
        for name, line in _row(row, rng):
            files[name].write(sealed(encode(line)))
    for file in files.values():
        file.close()
    manifest = Manifest(created="2026-01-01T00:00:00Z", shape=SHAPE, input=InputDigest(0, ""))
    (folder / "manifest.json").write_bytes(encode(manifest))
    return sum(path.stat().st_size for path in folder.rglob("*.jsonl"))


def main() -> None:
    """Make the files, run the command once, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--questions", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        size = make(Path(name), options.questions)
        took = run_program(ROOT, "report", name)
        page = (Path(name) / "report.html").stat().st_size
    print(
        f"{options.questions:,} questions, {size / 1e9:.1f} GB of ledgers: {took.seconds:.1f} s, peak resident memory "
        f"{took.mib:.0f} MiB, page {page / 1024:.0f} KiB"
    )


if __name__ == "__main__":
    main()
