"""What each scorer costs: the same traces of the same questions, scored by each of them on one embedded engine.

A strong model on this machine writes the traces first. Then each scorer scores all of them, in an order of its own in
each round; the questions are scored at once, as a run does. The table has the median over the rounds, and the least and
the most. Tokens are those that the weak LLM read (from its prefix cache or not) and wrote.

    python scripts/bench_scorers.py --weak MODEL --strong MODEL [--rounds 3] [--out FOLDER]
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from scripts.bench_scoring import ROOT, alone
from scripts.scoring_ways import Setting, write_traces
from weak2wise.config import Params, PromptTexts, VllmEndpoint
from weak2wise.llm.model import Completion, Prompt
from weak2wise.llm.vllm.model import VllmModel
from weak2wise.process_pool import KillablePool
from workers.answers import warm_up
from workers.context import Context
from workers.fanout import fan_out
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Question, Traced
from workers.scorers import NAMES, scorer_named

LEVELS = 6


class Counted:
    """A model that counts calls and tokens."""

    def __init__(self, model: VllmModel) -> None:
        self._model = model
        self.calls = self.read = self.cached = self.wrote = 0

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer as the model does."""
        completion = await self._model.complete(prompt)
        self.calls += 1
        self.read += completion.usage.prompt_tokens
        self.cached += completion.usage.cached_tokens
        self.wrote += completion.usage.completion_tokens
        return completion


async def measure(setting: Setting, traced: list[Traced], rounds: int) -> dict[str, list[tuple[float, Counted]]]:
    """Seconds and counts of each scorer, by round."""
    endpoint = setting.config("race").endpoints["weak"]
    assert isinstance(endpoint, VllmEndpoint)
    model = VllmModel("weak", endpoint)
    pool = KillablePool(warm_up=warm_up)
    await model.open()
    found: dict[str, list[tuple[float, Counted]]] = defaultdict(list)
    try:
        prompts = Prompts.of(PromptTexts())
        for number in range(-1, rounds):  # the first round warms everything up
            names = list(NAMES)
            random.Random(number).shuffle(names)
            for name in names:
                counted = Counted(model)
                context = Context(
                    params=Params(n_mask=LEVELS, seed=number + 1),
                    prompts=prompts,
                    models={"weak": counted},
                    judge=Judge(prompts=prompts, pool=pool, mode="rule"),
                    free=model.free,
                )
                scorer = scorer_named(name)(context)
                began = time.monotonic()
                await fan_out(scorer(record) for record in traced)
                if number >= 0:
                    found[name].append((time.monotonic() - began, counted))
    finally:
        await model.close()
        await pool.close()
    return found


def measured(setting: Setting, traced: list[Traced], rounds: int) -> dict[str, list[tuple[float, dict[str, int]]]]:
    """``measure`` with counts that can be sent to another process."""
    found = asyncio.run(measure(setting, traced, rounds))
    keys = ("calls", "read", "cached", "wrote")
    return {n: [(s, {key: getattr(c, key) for key in keys}) for s, c in rows] for n, rows in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    models = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weak2wise" / "models"
    parser.add_argument("--weak", default=str(models / "smollm2-135m-instruct"))
    parser.add_argument("--strong", default=str(models / "qwen2.5-coder-0.5b-instruct"))
    parser.add_argument("--questions", type=Path, default=ROOT / "scripts/quickstart/questions.jsonl")
    parser.add_argument("--samples", type=int, default=3, help="traces a question")
    parser.add_argument("--limit", type=int, default=16, help="questions")
    parser.add_argument("--new-tokens", type=int, default=128, help="longest attempt")
    parser.add_argument("--max-num-seqs", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench-scorers"))
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    options.out.mkdir(parents=True, exist_ok=False)
    folder = str(options.out.resolve())
    setting = Setting(folder, options.weak, options.strong, options.new_tokens, options.max_num_seqs, LEVELS)
    lines = [json.loads(line) for line in options.questions.read_text().splitlines()][: options.limit]
    (options.out / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    questions = [Question(row=i, id=None, text=q["question"], answer=q["answer"]) for i, q in enumerate(lines, 1)]
    traced, _, written = alone(write_traces, setting, questions, options.samples, ())
    traces = sum(len(record.candidates) for record in traced)
    console = Console(width=110)
    console.print(f"{len(traced)} questions, {traces} traces of {written / traces:.0f} tokens; {options.rounds} rounds")
    found = alone(measured, setting, traced, options.rounds)
    table = Table("a trace", "calls", "tokens read", "of these cached", "tokens written", "seconds", "least to most")
    for name in NAMES:
        seconds = [took / traces for took, _ in found[name]]
        mid = {key: median(counts[key] for _, counts in found[name]) / traces for key in found[name][0][1]}
        table.add_row(
            name,
            f"{mid['calls']:.1f}",
            f"{mid['read']:,.0f}",
            f"{mid['cached'] / mid['read']:.0%}" if mid["read"] else "",
            f"{mid['wrote']:,.0f}",
            f"{median(seconds):.3f}",
            f"{min(seconds):.3f} to {max(seconds):.3f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
