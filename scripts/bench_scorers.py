"""What each scorer costs: traces of the same lengths, scored by each of them on one embedded engine.

The traces are made up, of plain sentences about numbers: a cost depends on how long they are. All questions are scored
at once, as in a run, by every scorer in turn, in an order of its own in each round. The table has the median over the
rounds, and the least and the most. Tokens are those that the weak LLM read (from its prefix cache or not) and wrote.
CPU seconds are those of this process and its engine together; other programs on the machine change them less than the
time on the clock. The round before the first one warms everything up.

    python scripts/bench_scorers.py [--weak MODEL] [--rounds 3]
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from scripts.scoring_ways import made_up
from weak2wise.config import GenerationKwargs, Params, PromptTexts, VllmEndpoint
from weak2wise.llm.model import Completion, Prompt
from weak2wise.llm.vllm.guard import family
from weak2wise.llm.vllm.model import VllmModel
from weak2wise.process_pool import KillablePool
from workers.answers import warm_up
from workers.context import Context
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Question, Traced
from workers.scorers import NAMES, scorer_named

ROOT = Path(__file__).resolve().parent.parent
LEVELS = 6
TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What one scorer took in one round, for all traces."""

    calls: int
    read: int
    cached: int
    wrote: int
    seconds: float
    cpu: float


def cpu_seconds() -> float:
    """CPU time of this process and all its descendants so far."""
    total = 0
    for pid, _ in family([os.getpid()]):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


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


async def measure(endpoint: VllmEndpoint, traced: Callable[[], list[Traced]], rounds: int) -> dict[str, list[Cost]]:
    """The cost of each scorer, by round. Each time it gets other traces: the prefix cache has none of them yet."""
    model = VllmModel("weak", endpoint)
    pool = KillablePool(warm_up=warm_up)
    await model.open()
    found: dict[str, list[Cost]] = defaultdict(list)
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
                scorer, records = scorer_named(name)(context), traced()
                began, cpu = time.monotonic(), cpu_seconds()
                await asyncio.gather(*(scorer(record) for record in records))
                took = time.monotonic() - began, cpu_seconds() - cpu
                print(f"round {number + 1} of {rounds}: {name}, {took[0]:.0f} s", file=sys.stderr, flush=True)
                if number >= 0:
                    found[name].append(Cost(counted.calls, counted.read, counted.cached, counted.wrote, *took))
    finally:
        await model.close()
        await pool.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    models = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weak2wise" / "models"
    parser.add_argument("--weak", default=str(models / "smollm2-135m-instruct"))
    parser.add_argument("--questions", type=Path, default=ROOT / "scripts/quickstart/questions.jsonl")
    parser.add_argument("--limit", type=int, default=16, help="questions")
    parser.add_argument("--samples", type=int, default=3, help="traces a question")
    parser.add_argument("--sentences", type=int, default=12, help="of a trace's thinking")
    parser.add_argument("--new-tokens", type=int, default=128, help="longest attempt")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    rng = random.Random(0)
    lines = [json.loads(line) for line in options.questions.read_text().splitlines()][: options.limit]
    questions = [Question(row=i, id=None, text=q["question"], answer=q["answer"]) for i, q in enumerate(lines, 1)]

    def traced() -> list[Traced]:
        made = [
            [made_up(question, n, rng, steps=4, sentences=options.sentences) for n in range(options.samples)]
            for question in questions
        ]
        return [Traced(question=one, candidates=tuple(of)) for one, of in zip(questions, made, strict=True)]

    endpoint = VllmEndpoint(
        model_id=options.weak,
        max_model_len=2048,
        max_num_seqs=48,
        enforce_eager=True,
        enable_prefix_caching=True,
        generation_kwargs=GenerationKwargs(max_new_tokens=options.new_tokens),
        engine_args={"block_size": 32},
    )
    found = asyncio.run(measure(endpoint, traced, options.rounds))
    traces = len(questions) * options.samples
    console = Console(width=120)
    console.print(f"{traces} traces of {options.sentences} sentences, {options.rounds} rounds; for each trace:")
    table = Table("scorer", "calls", "tokens read", "cached", "tokens written", "CPU seconds", "seconds")
    for name in NAMES:
        mid = Cost(*(median(column) / traces for column in zip(*found[name], strict=True)))
        cpu, seconds = ([getattr(cost, key) / traces for cost in found[name]] for key in ("cpu", "seconds"))
        table.add_row(
            name,
            f"{mid.calls:.1f}",
            f"{mid.read:,.0f}",
            f"{mid.cached / mid.read:.0%}" if mid.read else "",
            f"{mid.wrote:,.0f}",
            f"{mid.cpu:.3f} ({min(cpu):.3f} to {max(cpu):.3f})",
            f"{mid.seconds:.3f} ({min(seconds):.3f} to {max(seconds):.3f})",
        )
    console.print(table)


if __name__ == "__main__":
    main()
