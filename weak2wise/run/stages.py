"""Builds the stages of one run: each step's worker, queue, ledger, and enough tasks to fill its endpoints."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from weak2wise.config import Config
from weak2wise.ledger.account import Account
from weak2wise.llm.drain import Drain
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.limits.limits import MOST_IN_FLIGHT
from weak2wise.llm.model import Model
from weak2wise.pipeline import Stage
from weak2wise.process_pool import KillablePool
from workers.context import Context
from workers.decontaminate import Overlap
from workers.dedup import NearDuplicates
from workers.judge import Judge
from workers.method import Step
from workers.prompts import Prompts
from workers.scorers import scorer_named

LEAST_GENERATING, LEAST_SCORING = 64, 32
"""The fewest records to process at once, however few calls the endpoints take."""
UNLIMITED_ROOM = 256
"""Assumed capacity of a weak LLM over HTTP, in calls at once, if nothing is configured."""


@dataclass(frozen=True)
class Counters:
    """Counters of the workers of one run, since it started."""

    verdicts: Counter[str]
    """Verdicts by what decided them (``workers.judge.Judge.counts``)."""
    bits: Counter[str]
    """Mask bits by how they were decided (``workers.context.Context.bits``)."""
    cuts: Counter[str]
    """Truncations by what cut the winner (``workers.truncate.Truncate.counts``)."""


def build_stages(
    config: Config,
    prompts: Prompts,
    steps: Sequence[Step],
    *,
    models: Mapping[str, Model],
    endpoints: Mapping[str, Endpoint],
    account: Account,
    rules: int,
    pool: KillablePool,
    overlap: Overlap | None,
    duplicates: NearDuplicates | None,
    drain: Drain,
    redact: Callable[[str], str],
) -> tuple[list[Stage[Any]], Counters]:
    """Build a stage for each step on opened endpoints and ledgers.

    Args:
        config: the run's.
        prompts: its texts.
        steps: the steps that this run takes.
        models: role to model (``wrap_models``).
        endpoints: name to opened endpoint.
        account: the position of each row, with the ledgers of these steps.
        rules: the version of the method's rules by which the run decides.
        pool: runs code that may hang.
        overlap: questions of evaluation sets, which are dropped before the first step.
        duplicates: questions that nearly repeat an earlier one, which are dropped there, too.
        drain: the run's.
        redact: removes secrets from providers' messages.
    """
    weak = endpoints[config.models.mweak]
    judge = Judge(
        model=models.get("judge"),
        mode=config.params.judge_mode,
        prompts=prompts,
        temperature=config.params.judge_temperature,
        pool=pool,
        rules=rules,
    )
    context = Context(
        params=config.params,
        prompts=prompts,
        models=models,
        judge=judge,
        rules=rules,
        overlap=overlap,
        duplicates=duplicates,
        free=weak.free if weak.embedded else None,
        batched=config.endpoints[config.models.mweak].batched,
        race_width=config.engine.race_width,
    )
    scorer = scorer_named(config.params.scorer)(context)
    configured = msgspec.structs.asdict(config.engine.lanes)
    stages = [
        Stage(
            step.name,
            step.build(context, scorer),
            account.steps[step.name],
            concurrency=configured[step.name] or _default_concurrency(step, config, endpoints),
            queue_size=config.engine.queue_size,
            drain=drain,
            redact=redact,
            max_error_rate=config.engine.max_error_rate,
            emits=step is steps[-1],
        )
        for step in steps
    ]
    return stages, Counters(judge.counts, context.bits, context.cuts)


def _default_concurrency(step: Step, config: Config, endpoints: Mapping[str, Endpoint]) -> int:
    """How many records to process at once to fill the endpoints that a step uses."""
    models, calls = config.models, step.calls(config.params)
    if "weak" in step.asks:
        weak = endpoints[models.mweak]
        room = weak.load().limit if weak.embedded else _widest_limit(config, endpoints, [models.mweak], UNLIMITED_ROOM)
        return max(LEAST_SCORING, room // calls)
    names = models.mstrong if "strong" in step.asks else filter(None, [models.truncation])
    return max(LEAST_GENERATING, math.ceil(_widest_limit(config, endpoints, names, MOST_IN_FLIGHT) / calls))


def _widest_limit(config: Config, endpoints: Mapping[str, Endpoint], names: Iterable[str], unlimited: int) -> int:
    """The highest limit of calls in flight among these endpoints; 0 if all are embedded."""
    remote = [name for name in names if not endpoints[name].embedded]
    return max((config.endpoints[name].limits.max_concurrent_requests or unlimited for name in remote), default=0)
