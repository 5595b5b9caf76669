"""One scorer's choices of a run's questions, in several draws, and what they cost."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from msgspec import UNSET, structs

from weak2wise.config import Config
from weak2wise.errors import RecordError
from weak2wise.ledger.outcomes import Done
from weak2wise.llm.call import Call, calling
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.outputs.comparison.facts import Choice, Cost
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.process_pool import KillablePool
from weak2wise.telemetry.log import log, log_facts
from workers.context import Context
from workers.fanout import fan_out
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Score, Traced
from workers.score import checked_scores, faithful
from workers.scorers import Scorer
from workers.select import select

AT_ONCE = 32
"""Questions at once. Each asks for all its traces, mask levels and draws together: enough to fill an engine."""


class _Metered:
    """A model that adds up what its answers used, whether they are new or from a journal."""

    def __init__(self, model: Model, endpoint: Endpoint, cost: Cost) -> None:
        self._model = model
        self._endpoint = endpoint
        self._cost = cost

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Pass the prompt on."""
        completion = await self._model.complete(prompt)
        self._cost.calls += 1
        self._cost.tokens_in += completion.usage.prompt_tokens
        self._cost.tokens_out += completion.usage.completion_tokens
        self._cost.cost_usd += self._endpoint.cost(completion.usage)
        return completion


class Scoring:
    """Lets scorers choose, one scorer after the other, so that each one's time is its own.

    Args:
        work: the run.
        config: its config, for scoring.
        models: role to model.
        endpoints: name to opened endpoint.
        pool: runs the judge's code that may hang.
        prompts: the run's.
        draws: how often each scorer chooses, each time with another seed.
        drain: how it stops.
    """

    def __init__(
        self,
        work: WorkDir,
        config: Config,
        models: Mapping[str, Model],
        endpoints: Mapping[str, Endpoint],
        pool: KillablePool,
        *,
        prompts: Prompts,
        draws: int,
        drain: Drain,
    ) -> None:
        self._work = work
        self._config = config
        self._prompts = prompts
        self._models = models
        self._endpoints = endpoints
        self._pool = pool
        self._draws = draws
        self._drain = drain
        self.failed: dict[int, RecordError] = {}
        """The questions that a scorer could not score."""
        self.lengths: dict[int, tuple[tuple[int, int], ...]] = {}
        """By question: the length of each trace, as it decides ties."""

    async def choices(
        self, scorer: type[Scorer], rows: Sequence[int], note: Callable[[int], None]
    ) -> tuple[dict[int, list[Choice]], Cost, float]:
        """Every question's choices, one for each draw; what one draw used; and how many seconds all took.

        ``note`` is called with the number of questions that are done.

        Raises:
            RunStopped: alone or in an exception group: no call can succeed until the user fixes something.
        """
        cost, began = Cost(), time.monotonic()
        scorers = [scorer(self._context(number, cost)) for number in range(self._draws)]
        found: dict[int, list[Choice]] = {}
        waiting = iter([row for row in rows if row not in self.failed])

        async def work() -> None:
            for row in waiting:
                try:
                    found[row] = await self._choose(row, scorers)
                except RecordError as error:
                    log.warning("question.left_out", row=row, kind=error.kind, message=str(error)[:300])
                    self.failed[row] = error
                note(len(found))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(rows))):
                group.create_task(work())
        for name in ("calls", "tokens_in", "tokens_out", "cost_usd"):
            setattr(cost, name, getattr(cost, name) / self._draws)
        return found, cost, time.monotonic() - began

    async def _choose(self, row: int, scorers: Sequence[Scorer]) -> list[Choice]:
        traced = await asyncio.to_thread(self._traced, row)
        self.lengths[row] = tuple(scorers[0].length(candidate) for candidate in traced.candidates)
        with log_facts(row=row), calling(Call(row, drain=self._drain)):
            scores = await fan_out(checked_scores(scorer, traced) for scorer in scorers)
        return [choice(scorer, traced, found) for scorer, found in zip(scorers, scores, strict=True)]

    def _traced(self, row: int) -> Traced:
        outcome = self._work.made(Traced).read(row)
        assert isinstance(outcome, Done)
        traced: Traced = outcome.record
        kept = faithful(traced.candidates) if self._config.params.require_faithful else traced.candidates
        return structs.replace(traced, candidates=kept)

    def _context(self, number: int, cost: Cost) -> Context:
        """Draw ``number`` has the run's seed and so much more: the first one finds the run's own answers."""
        config, weak = self._config, self._endpoints[self._config.models.mweak]
        models: dict[str, Model] = {"weak": _Metered(self._models["weak"], weak, cost)}
        if config.models.judge:
            models["judge"] = _Metered(self._models["judge"], self._endpoints[config.models.judge], cost)
        prompts, rules = self._prompts, self._work.manifest.rules
        judge = Judge(
            model=models.get("judge"),
            mode=config.params.judge_mode,
            prompts=prompts,
            temperature=config.params.judge_temperature,
            pool=self._pool,
            rules=rules,
        )
        return Context(
            params=structs.replace(config.params, seed=config.params.seed + number),
            prompts=prompts,
            models=models,
            judge=judge,
            rules=rules,
            free=weak.free if weak.embedded else None,
            bits=Counter(),
        )


def choice(scorer: Scorer, traced: Traced, scores: Sequence[Score]) -> Choice:
    """Which trace a scorer chooses, and how it orders them: by its own rank, in which equal scores have one place."""
    pairs = list(zip(traced.candidates, scores, strict=True))
    winner = select(traced.candidates, scores, scorer)
    ranked = sorted(range(len(pairs)), key=lambda at: scorer.rank(*pairs[at]))
    order, place = [0] * len(pairs), 0
    for before, at in pairwise(ranked):
        place += _worth(scorer, scores[before]) != _worth(scorer, scores[at])
        order[at] = place
    return Choice(
        winner=next(at for at, pair in enumerate(pairs) if pair[0] is winner[0]),
        order=tuple(order),
        scores=tuple(score.score for score in scores),
        bits=tuple(tuple(int(bit or 0) for bit in score.s_list) for score in scores)
        if all(score.is_masked for score in scores)
        else UNSET,
    )


def _worth(scorer: Scorer, score: Score) -> tuple[bool, Any]:
    return score.is_bound, scorer.worth(score)
