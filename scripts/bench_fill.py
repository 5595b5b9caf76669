"""How full Step-Mask races keep an engine of 256 places, by questions in flight and seconds of a verdict.

The engine is simulated: an attempt takes 0.3 to 0.5 s at any load, two in five are right, and 282 calls are admitted
(1.1 x 256). The scorer is the real one: ``workers.scorers.stepmask`` with one race for each question of six traces.

    python scripts/bench_fill.py [--seconds 6]
"""

import argparse
import asyncio
import random
import time
from hashlib import blake2b

from rich.console import Console
from rich.table import Table

from weak2wise.config import Params, PromptTexts
from weak2wise.llm.model import Completion, Prompt
from weak2wise.process_pool import KillablePool
from workers.context import Context
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Candidate, Question, Traced
from workers.scorers import StepMask

PLACES, ADMITTED = 256, 282
WARM_UP = 5.0


class SimulatedModel:
    """A weak model that measures how many attempts run."""

    def __init__(self) -> None:
        self._admission = asyncio.Semaphore(ADMITTED)
        self._waiting = 0
        self._inside = 0
        self._since = time.monotonic()
        self.area = 0.0
        """Running attempts, integrated over seconds."""

    def free(self) -> int:
        """Places that are free and not waited for."""
        return ADMITTED - self._inside - self._waiting

    def note(self, change: int = 0) -> None:
        """Update ``area`` to now, then change the number of running attempts."""
        now = time.monotonic()
        self.area += min(self._inside, PLACES) * (now - self._since)
        self._since = now
        self._inside += change

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer after a while."""
        self._waiting += 1
        try:
            await self._admission.acquire()
        finally:
            self._waiting -= 1
        self.note(1)
        try:
            await asyncio.sleep(random.uniform(0.3, 0.5))
        finally:
            self.note(-1)
            self._admission.release()
        drawn = blake2b(f"{prompt.messages[0].content}{prompt.seed}".encode(), digest_size=1).digest()[0]
        return Completion(text="\\boxed{5}" if drawn < 0.4 * 256 else f"\\boxed{{{10 + drawn}}}")


class SlowJudge(Judge):
    """A judge whose rule takes some seconds."""

    seconds = 0.0

    async def rule(self, attempt: str, answer: str, *, cut_off: bool = False) -> bool | None:
        """Return the verdict after ``seconds``."""
        await asyncio.sleep(self.seconds)
        return await super().rule(attempt, answer, cut_off=cut_off)


def traced(row: int) -> Traced:
    """A question with six traces of four steps."""
    steps = [tuple(f"## Step {step} of {sample}\n" + "x" * 60 for step in range(4)) for sample in range(6)]
    return Traced(
        question=Question(row=row, id=None, text=f"question {row}", answer="5"),
        candidates=tuple(
            Candidate(
                m_strong="m", sample=i, step_reasoning="", step_list=s, normal="word " * (i + 5), normal_is_own=True
            )
            for i, s in enumerate(steps)
        ),
    )


async def fill(questions: int, verdict_seconds: float, seconds: float) -> tuple[float, float]:
    """The share of places that were taken, and the share of asked bits that were not needed."""
    weak, prompts, rows = SimulatedModel(), Prompts.of(PromptTexts()), iter(range(10**9))
    judge = SlowJudge(prompts=prompts, pool=KillablePool(), mode="rule")
    object.__setattr__(judge, "seconds", verdict_seconds)
    context = Context(params=Params(), prompts=prompts, models={"weak": weak}, judge=judge, free=weak.free)
    scorer = StepMask(context)

    async def score_on() -> None:
        for row in rows:
            await scorer(traced(row))

    tasks = [asyncio.create_task(score_on()) for _ in range(questions)]
    await asyncio.sleep(WARM_UP)
    weak.note()
    weak.area, began = 0.0, time.monotonic()
    await asyncio.sleep(seconds)
    weak.note()
    taken = weak.area / PLACES / (time.monotonic() - began)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return taken, context.bits["in_vain"] / context.bits["asked"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    options = parser.parse_args()
    table = Table("questions", "seconds a verdict", "places taken", "bits wasted")
    for questions in (300, 200, 100, 20):
        for verdict in (0.0, 0.1, 0.4):
            taken, wasted = asyncio.run(fill(questions, verdict, options.seconds))
            table.add_row(f"{questions}", f"{verdict}", f"{taken:.0%}", f"{wasted:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
