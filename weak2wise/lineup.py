"""The five workers of one run, each with its models, its lanes and its ledger, and what they count."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from weak2wise.assembly import Books, wire
from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.llm.gate import Gate
from weak2wise.llm.limits import MOST_IN_FLIGHT
from weak2wise.llm.openai import OpenAIModel
from weak2wise.llm.vllm import VllmModel
from weak2wise.offload import Offload
from weak2wise.pipeline import Stage
from workers.context import Context
from workers.decontaminate import Overlap
from workers.judge import Judge
from workers.method import METHOD, Step
from workers.prompts import Prompts
from workers.scorers import Scorer, scorer_named

LEAST_GENERATING, LEAST_SCORING = 64, 32
"""Lanes, however narrow the endpoints are."""
UNLIMITED_ROOM = 256
"""Calls that a weak LLM over HTTP is taken to have room for if nothing is configured."""


@dataclass(frozen=True)
class Lineup:
    """The stages in order, the scorer, and the counters that their workers share."""

    stages: list[Stage[Any]]
    scorer: type[Scorer]
    verdicts: Counter[str]
    """By what decided them (``workers.judge.Judge.counts``)."""
    bits: Counter[str]
    """What scoring asked (``workers.context.Context.bits``)."""
    cuts: Counter[str]
    """What cut the winners (``workers.truncate.Truncate.counts``)."""


def line_up(
    config: Config,
    prompts: Prompts,
    endpoints: dict[str, OpenAIModel | VllmModel],
    books: Books,
    *,
    gate: Gate,
    offload: Offload,
    redact: Callable[[str], str],
    overlap: Overlap | None = None,
) -> Lineup:
    """Build the five stages on opened endpoints and books.

    With an ``overlap`` the questions of evaluation sets are dropped before the first step.
    """
    params = config.params
    models = wire(config, endpoints, books.journal, gate)
    judge = Judge(
        model=models.get("judge"),
        mode=params.judge_mode,
        prompts=prompts,
        temperature=params.judge_temperature,
        offload=offload,
    )
    weak = endpoints[config.models.mweak]
    context = Context(
        params=params,
        prompts=prompts,
        models=models,
        judge=judge,
        overlap=overlap,
        free=weak.free if isinstance(weak, VllmModel) else None,
        race_width=config.engine.race_width,
    )
    scorer = scorer_named(params.scorer)(context)
    lanes, most = _lanes(config, weak), config.engine.max_error_rate
    stages = [
        Stage(
            step.name,
            step.build(context, scorer),
            books.steps[step.name],
            lanes=lanes[step.name],
            redact=redact,
            max_error_rate=most,
        )
        for step in METHOD
    ]
    return Lineup(stages, type(scorer), judge.counts, context.bits, context.cuts)


def _lanes(config: Config, weak: OpenAIModel | VllmModel) -> dict[str, int]:
    """The configured lanes; for those left out, what fills the endpoints that the step asks."""
    given = msgspec.structs.asdict(config.engine.lanes)
    return {step.name: given[step.name] or _filling(step, config, weak) for step in METHOD}


def _filling(step: Step, config: Config, weak: OpenAIModel | VllmModel) -> int:
    models, calls = config.models, step.calls(config.params)
    if "weak" in step.asks:
        room = weak.capacity if isinstance(weak, VllmModel) else _widest(config, [models.mweak], UNLIMITED_ROOM)
        return max(LEAST_SCORING, room // calls)
    names = models.mstrong if "strong" in step.asks else filter(None, [models.truncation])
    return max(LEAST_GENERATING, math.ceil(_widest(config, names, MOST_IN_FLIGHT) / calls))


def _widest(config: Config, names: Iterable[str], unlimited: int) -> int:
    """The most calls in flight that one of these endpoints over HTTP takes; 0 if there is none."""
    endpoints = [config.endpoints[name] for name in names]
    widths = [e.max_concurrent_requests or unlimited for e in endpoints if isinstance(e, OpenAIEndpoint)]
    return max(widths, default=0)
