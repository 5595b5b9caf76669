"""Compare Step-Mask scoring with the reference's way and with the most that the hardware can do, in one run.

A strong model on this machine writes traces for the questions, or ``--strong made-up`` takes such as any weak model can
follow, of plain sentences. Then the weak model makes the same guided attempts

    a  transformers, one attempt at a time, as the reference does (on a few of them),
    b  vLLM's offline ``LLM.generate``, given every prompt at once: what vLLM does with the same settings,
    b' the same without repetition detection and without text, which costs it the least for a token: the ceiling,
    c  this engine, every bit,
    d  this engine, racing,

each in its own process. The winners of (c) and (d) are compared on bits that are recorded once and replayed, because a
real engine's rounding depends on the other requests in a batch. How often they agree live is printed as well. The last
table replays races on random bits at several success rates.

    python scripts/bench_scoring.py --weak MODEL --strong MODEL|made-up [--out FOLDER]
"""

import argparse
import json
import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from scripts.race_replay import Bits, drawn, replay
from scripts.scoring_ways import (
    Cutting,
    Setting,
    Speed,
    guided_prompts,
    made_up,
    step_mask,
    with_bare_vllm,
    with_this_engine,
    with_transformers,
    write_traces,
)
from workers.records import Question, Scored, Traced
from workers.scorers import StepMask
from workers.select import select

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
LEVELS = 6
MADE_UP = "made-up"
NAMES = {
    "a": "transformers, one at a time",
    "b": "LLM.generate, all at once",
    "b'": "the same, no text, no repetition",
    "c": "weak2wise, exhaustive",
    "d": "weak2wise, racing",
}


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a new process, so that no measurement affects the next."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def races(console: Console, recorded: list[tuple[Bits, list[tuple[int, int]]]]) -> None:
    """Print how many bits racing asks for: on the recorded bits, and on random ones at several success rates."""
    rng = random.Random(0)
    rows = {"recorded": recorded}
    for share in (0.15, 0.4, 0.6, 0.85):
        rows[f"drawn, {share:.0%}"] = [
            (drawn(share, rng, LEVELS, 6), [(0, rng.randrange(50, 400)) for _ in range(6)]) for _ in range(500)
        ]
    table = Table(
        "bits",
        "share of ones",
        "at once",
        "asked of all",
        "of these wasted",
        "of the fewest that certify",
        "winners equal",
    )
    for (name, tables), width in product(rows.items(), (1, 8)):
        replays = [replay(bits, lengths, LEVELS, width) for bits, lengths in tables]
        asked, wasted, every, fewest = (sum(r[i] for r in replays) for i in range(4))
        ones = sum(bit for bits, _ in tables for row in bits for bit in row)
        right = sum(r.right for r in replays)
        table.add_row(
            name if width == 1 else "",
            f"{ones / every:.0%}" if width == 1 else "",
            f"{width}",
            f"{asked / every:.2f}",
            f"{wasted / asked:.2f}",
            f"{asked / fewest:.2f}",
            f"{right} of {len(replays)}",
        )
    console.print(table)


def plot(speeds: dict[str, Speed], path: Path) -> None:
    """Bars: seconds to the winners of all questions, by way of scoring."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - slow to import

    whole = speeds["b"].attempts
    seconds = [s.seconds * (whole / s.attempts if name == "a" else 1) for name, s in speeds.items()]
    figure, axes = plt.subplots(figsize=(7, 2.8))
    bars = axes.barh(
        [NAMES[name] for name in speeds], seconds, color=["#999999", "#bbbbbb", "#dddddd", "#4477aa", "#228833"]
    )
    axes.bar_label(bars, [f"{s:,.0f} s" for s in seconds], padding=4)
    axes.set_xscale("log")
    axes.set_xlabel(f"seconds for the winners of {whole} attempts (log scale)")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.25)
    figure.tight_layout()
    figure.savefig(path)


def winner(scored: Scored, scorer: StepMask) -> int:
    """The number of the best trace."""
    return select(scored.candidates, scored.scores, scorer)[0].sample


def traces(setting: Setting, questions: list[Question], samples: int) -> tuple[list[Traced], dict[str, Cutting], int]:
    """As ``write_traces``; made-up ones are not cut, and no token was written for them."""
    if setting.strong != MADE_UP:
        return alone(write_traces, setting, questions, samples)
    rng = random.Random(0)
    made = [[made_up(question, n, rng, steps=4, sentences=12) for n in range(samples)] for question in questions]
    return [Traced(question=q, candidates=tuple(each)) for q, each in zip(questions, made, strict=True)], {}, 0


def speed_table(speeds: dict[str, Speed]) -> Table:
    """The ways side by side."""
    table = Table(
        "",
        "attempts",
        "attempts/s",
        "tokens/s",
        "of (b)",
        "of (b')",
        "prompt tokens from cache",
        "seconds",
        "asked",
        "wasted",
        "spared",
    )
    for name, speed in speeds.items():
        rate = speed.tokens / speed.seconds
        tops = (speeds[top].tokens / speeds[top].seconds for top in ("b", "b'"))
        table.add_row(
            f"({name}) {NAMES[name]}",
            f"{speed.attempts}",
            f"{speed.attempts / speed.seconds:.2f}",
            f"{rate:.0f}",
            *(f"{rate / top:.2f}" for top in tops),
            f"{speed.cached_tokens / speed.prompt_tokens:.0%}",
            f"{speed.seconds:.0f}",
            *(f"{speed.bits.get(what, 0):,}" if speed.bits else "" for what in ("asked", "in_vain", "spared")),
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    models = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weak2wise" / "models"
    parser.add_argument("--weak", default=str(models / "smollm2-135m-instruct"))
    parser.add_argument("--strong", default=str(models / "qwen2.5-coder-0.5b-instruct"))
    parser.add_argument("--questions", type=Path, default=ROOT / "scripts/quickstart/questions.jsonl")
    parser.add_argument("--limit", type=int, help="how many of the questions; left out: all")
    parser.add_argument("--samples", type=int, default=3, help="traces a question")
    parser.add_argument("--new-tokens", type=int, default=128, help="longest attempt: 1024 shows what long ones cost")
    parser.add_argument("--max-num-seqs", type=int, default=48)
    parser.add_argument("--one-at-a-time", type=int, default=12, help="attempts made with transformers")
    parser.add_argument("--out", type=Path, default=Path("bench-scoring"))
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # for every process to come
    options.out.mkdir(parents=True, exist_ok=False)
    folder = str(options.out.resolve())
    setting = Setting(folder, options.weak, options.strong, options.new_tokens, options.max_num_seqs, LEVELS)
    lines = [json.loads(line) for line in options.questions.read_text().splitlines()][: options.limit]
    (options.out / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    questions = [Question(row=i, id=None, text=q["question"], answer=q["answer"]) for i, q in enumerate(lines, 1)]

    console = Console(width=120)
    traced, cuttings, written = traces(setting, questions, options.samples)
    prompts = alone(guided_prompts, setting, traced)
    if not prompts:
        raise SystemExit(f"{options.strong} wrote no trace with steps: name a stronger one, or --strong {MADE_UP}")
    console.print(f"{len(questions)} questions, {options.samples} traces each: {len(prompts)} attempts for every bit")
    speeds: dict[str, Speed] = {}
    some = random.Random(0).sample(prompts, min(options.one_at_a_time, len(prompts)))
    speeds["a"] = alone(with_transformers, setting, some)
    speeds["b"] = alone(with_bare_vllm, setting, prompts, False)
    speeds["b'"] = alone(with_bare_vllm, setting, prompts, True)
    speeds["c"], every = alone(with_this_engine, setting, traced, "exhaustive")
    speeds["d"], raced = alone(with_this_engine, setting, traced, "race")

    console.print(speed_table(speeds))

    scorer = step_mask(setting)
    same = sum(winner(a, scorer) == winner(b, scorer) for a, b in zip(every, raced, strict=True))
    console.print(f"winners of (c) and (d) that agree live: {same} of {len(every)}")
    recorded = [
        ([[int(bit or 0) for bit in s.s_list] for s in r.scores], [c.length for c in r.candidates]) for r in every
    ]
    races(console, recorded)
    if cuttings:
        anchor, rewrite = cuttings["anchor"], cuttings["rewrite"]
        console.print(
            f"cutting {anchor.traces} traces of {written / anchor.traces:.0f} tokens: anchor wrote {anchor.tokens:,} "
            f"tokens, {anchor.tokens / rewrite.tokens:.0%} of rewrite's {rewrite.tokens:,};"
            f" cuts that held: {anchor.held} and {rewrite.held}"
        )
    if options.json:
        ways = {name: speed._asdict() | {"way": NAMES[name]} for name, speed in speeds.items()}
        options.json.write_text(json.dumps({"ways": ways, "winners": len(every), "same_winners_live": same}))
    plot(speeds, options.out / "scoring.svg")
    console.print(f"plot: {options.out / 'scoring.svg'}")


if __name__ == "__main__":
    main()
