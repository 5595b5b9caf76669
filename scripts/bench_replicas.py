"""What it brings to send all attempts at one question to one of several copies of the weak model.

One engine with ``--replicas`` copies makes the same guided attempts in rounds, by turns

    fewest  each sent to the copy with the fewest calls, as vLLM does by itself,
    by row  as our engine does (``weak2wise.llm.vllm.routing``),

with empty prefix caches at the start of each round. Printed are medians over the rounds. The traces are made up.

    python scripts/bench_replicas.py [--weak MODEL] [--replicas 2] [--questions 16] [--new-tokens 32]
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from scripts.scoring_ways import made_up
from weak2wise.config import GenerationKwargs, PromptTexts, VllmEndpoint
from weak2wise.llm.call import Call, calling
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.llm.vllm.model import VllmModel
from workers.prompts import Prompts
from workers.records import Question
from workers.scorers.masking import hint

ROOT = Path(__file__).resolve().parent.parent
LEVELS = 6
WAYS = ("fewest", "by row")


class Round(NamedTuple):
    """What one round of one way did."""

    cached: float
    """The share of prompt tokens that came from a prefix cache."""
    tokens_per_second: float
    texts: list[str]


class LeftToVllm:
    """A vLLM engine that chooses the replica itself."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    def generate(self, *given: Any, data_parallel_rank: int | None) -> Any:
        """As vLLM's, but for the replica."""
        del data_parallel_rank
        return self._llm.generate(*given)


def attempts(questions: int, samples: int) -> list[tuple[int, Prompt]]:
    """Guided attempts with the row of each, in the order in which races ask for them: heaviest level first."""
    rng, prompts = random.Random(0), Prompts.of(PromptTexts())
    lines = [json.loads(line) for line in (ROOT / "scripts/quickstart/questions.jsonl").read_text().splitlines()]
    asked = [
        Question(row=row, id=None, text=line["question"], answer=line["answer"]) for row, line in enumerate(lines, 1)
    ]
    made = []
    for question in asked[:questions]:
        traces = [made_up(question, n, rng, steps=4, sentences=4) for n in range(samples)]
        made += [
            (level, question.row, prompts.guided(question.text, hint(trace.step_list, level, LEVELS)))
            for level in range(LEVELS)
            for trace in traces
        ]
    made.sort(key=lambda attempt: attempt[0])
    return [
        (row, Prompt(messages=(Message("user", text),), temperature=0.6, seed=seed))
        for seed, (_, row, text) in enumerate(made)
    ]


async def measure(endpoint: VllmEndpoint, asked: list[tuple[int, Prompt]], rounds: int) -> dict[str, list[Round]]:
    """Start the engine and make all attempts, each way ``rounds`` times and once before that."""
    model = VllmModel("weak", endpoint)
    await model.open()
    engine = model._engine
    assert engine is not None  # it is open
    llm = engine._llm

    async def one(row: int, prompt: Prompt) -> Completion:
        with calling(Call(row=row)):
            return await model.complete(prompt)

    found: dict[str, list[Round]] = {way: [] for way in WAYS}
    try:
        for number in range(rounds + 1):
            for way in WAYS:
                engine._llm = llm if way == "by row" else LeftToVllm(llm)
                await llm.reset_prefix_cache()
                began = time.perf_counter()
                answers = await asyncio.gather(*(one(row, prompt) for row, prompt in asked))
                seconds = time.perf_counter() - began
                usage = [answer.usage for answer in answers]
                cached = sum(use.cached_tokens for use in usage) / sum(use.prompt_tokens for use in usage)
                speed = sum(use.completion_tokens for use in usage) / seconds
                if number:
                    found[way].append(Round(cached, speed, [answer.text for answer in answers]))
    finally:
        engine._llm = llm
        await model.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    models = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weak2wise" / "models"
    parser.add_argument("--weak", default=str(models / "smollm2-135m-instruct"))
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4, help="traces a question")
    parser.add_argument("--new-tokens", type=int, default=32, help="longest attempt")
    parser.add_argument("--max-num-seqs", type=int, default=16, help="of each replica")
    parser.add_argument("--rounds", type=int, default=3, help="measured ones; one more comes first")
    parser.add_argument("--engine-args", type=json.loads, default={}, help="more engine arguments, as JSON")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    endpoint = VllmEndpoint(
        model_id=options.weak,
        max_model_len=2048,
        max_num_seqs=options.max_num_seqs,
        data_parallel_size=options.replicas,
        enforce_eager=True,
        enable_prefix_caching=True,
        generation_kwargs=GenerationKwargs(max_new_tokens=options.new_tokens),
        engine_args={"block_size": 32} | options.engine_args,
    )
    asked = attempts(options.questions, options.samples)
    found = asyncio.run(measure(endpoint, asked, options.rounds))
    console = Console(width=120)
    console.print(f"{len(asked)} attempts at {options.questions} questions, {options.replicas} replicas")
    table = Table("attempts go to", "prompt tokens from cache", "tokens/s (smallest to largest)", "same text as fewest")
    figures = {}
    for way in WAYS:
        cached, speeds = ([getattr(done, key) for done in found[way]] for key in ("cached", "tokens_per_second"))
        same = sum(a == b for a, b in zip(found["fewest"][-1].texts, found[way][-1].texts, strict=True))
        figures[way] = {"cached": median(cached), "tokens_per_second": median(speeds), "same_text": same}
        span = f"{median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"
        table.add_row(way, f"{median(cached):.1%}", span, f"{same} of {len(asked)}")
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"replicas": options.replicas, "attempts": len(asked), "ways": figures}))


if __name__ == "__main__":
    main()
