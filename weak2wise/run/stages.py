"""The five workers of one run, each with its models, its lanes and its ledger, and what they count."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from weak2wise.assembly import Books, wire
from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.llm.drain import Drain
from weak2wise.llm.limits.limits import MOST_IN_FLIGHT
from weak2wise.llm.model import Model
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.vllm.model import VllmModel
from weak2wise.process_pool import KillablePool
from weak2wise.pipeline import Stage
from workers.decontaminate import Decontaminate, Overlap
from workers.faithful import FaithfulOnly
from workers.filter import Filter
from workers.generate import Generate
from workers.judge import Judge
from workers.prompts import Prompts
from workers.scoring import exact_weights
from workers.select import Select
from workers.sft import Sft
from workers.stepmask import StepMask
from workers.truncate import Truncate

LEAST_GENERATING, LEAST_SCORING = 64, 32
"""Lanes, however narrow the endpoints are."""
UNLIMITED_ROOM = 256
"""Calls that a weak LLM over HTTP is taken to have room for if nothing is configured."""


@dataclass(frozen=True)
class Lineup:
    """The stages in order, and the counters that their workers share."""

    stages: list[Stage[Any]]
    verdicts: Counter[str]
    """By what decided them (``workers.judge.Judge.counts``)."""
    bits: Counter[str]
    """What scoring asked (``workers.stepmask.StepMask.bits``)."""
    cuts: Counter[str]
    """What cut the winners (``workers.truncate.Truncate.counts``)."""


def line_up(
    config: Config,
    prompts: Prompts,
    endpoints: dict[str, OpenAIModel | VllmModel],
    books: Books,
    *,
    gate: Drain,
    offload: KillablePool,
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
    truncate = Truncate(
        model=models.get("truncation"), mode=params.truncation, prompts=prompts, temperature=params.trunc_temp
    )
    weak = endpoints[config.models.mweak]
    step_mask = StepMask(
        weak=models["weak"],
        judge=judge,
        prompts=prompts,
        n=params.n_mask,
        votes=params.majority,
        beta=params.beta,
        normalization=params.ew_normalization,
        scoring=params.scoring,
        seed=params.seed,
        race_width=config.engine.race_width,
        free=weak.free if isinstance(weak, VllmModel) else None,
    )
    workers = _workers(config, prompts, models, judge=judge, step_mask=step_mask, truncate=truncate)
    if overlap is not None:
        workers["filter"] = Decontaminate(overlap, workers["filter"])
    lanes, most = _lanes(config, weak), config.engine.max_error_rate
    stages = [
        Stage(name, worker, books.account.steps[name], lanes=lanes[name], redact=redact, max_error_rate=most)
        for name, worker in workers.items()
    ]
    return Lineup(stages, judge.counts, step_mask.bits, truncate.counts)


def _workers(
    config: Config,
    prompts: Prompts,
    models: dict[str, Model],
    *,
    judge: Judge,
    step_mask: StepMask,
    truncate: Truncate,
) -> dict[str, Any]:
    params = config.params
    return {
        "filter": Filter(models["weak"], judge, params.gen_temperature, params.seed, skip=params.skip_filter),
        "generate": Generate(
            {name: models[f"strong/{name}"] for name in config.models.mstrong},
            params.samples_per_model,
            params.gen_temperature,
            prompts,
            params.seed,
            outcomes=params.outcomes,
            judge=judge,
            least=params.min_candidates,
        ),
        "stepmask": FaithfulOnly(step_mask) if params.require_faithful else step_mask,
        "select": Select(
            truncate,
            exact_weights(params.n_mask, beta=params.beta, normalization=params.ew_normalization),
            params.seed,
        ),
        "sft": Sft(),
    }


def _lanes(config: Config, weak: OpenAIModel | VllmModel) -> dict[str, int]:
    """The configured lanes; for those left out, what fills the endpoints that the step asks."""
    models, params = config.models, config.params
    room = weak.capacity if isinstance(weak, VllmModel) else _widest(config, [models.mweak], UNLIMITED_ROOM)
    strong, cutting = (
        _widest(config, names, MOST_IN_FLIGHT) for names in (models.mstrong, filter(None, [models.truncation]))
    )
    given = msgspec.structs.asdict(config.engine.lanes)
    filling = {
        "filter": max(LEAST_SCORING, room),
        "generate": max(LEAST_GENERATING, math.ceil(strong / params.samples_per_model)),
        "stepmask": max(LEAST_SCORING, room // params.majority),
        "select": max(LEAST_GENERATING, cutting),
    }
    return {step: lanes or filling[step] for step, lanes in given.items()}


def _widest(config: Config, names: Iterable[str], unlimited: int) -> int:
    """The most calls in flight that one of these endpoints over HTTP takes; 0 if there is none."""
    endpoints = [config.endpoints[name] for name in names]
    widths = [e.max_concurrent_requests or unlimited for e in endpoints if isinstance(e, OpenAIEndpoint)]
    return max(widths, default=0)
