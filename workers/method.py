"""The method: its five steps in order, and what each one is. Whatever knows the steps reads this table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from weak2wise.config import Params
from weak2wise.worker import Worker
from workers import output_lines
from workers.context import Context
from workers.decontaminate import Decontaminate
from workers.faithful import FaithfulOnly
from workers.filter import Filter
from workers.generate import Generate
from workers.records import Asked, Golden, Scored, SftRow, Traced, Unsolved
from workers.scoring import exact_weights
from workers.select import Select
from workers.sft import Sft
from workers.stepmask import StepMask
from workers.truncate import Truncate

Role = Literal["weak", "strong", "judge", "truncation"]


def _one_call(_: Params) -> int:
    return 1


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the method."""

    name: str
    """Also the name of its ledger's folder."""
    number: int
    """From 1, as in the paper."""
    makes: type[Any]
    """The record that it makes of the one before."""
    build: Callable[[Context], Worker[Any, Any]]
    asks: tuple[Role, ...]
    """The kinds of role that it asks, first the one that does most of its work."""
    calls: Callable[[Params], int] = _one_call
    """How many calls to a model of that role one record makes at once."""
    file: str
    """Its output file's name in the work_dir."""
    lines: Callable[[Any], Iterator[output_lines.Line]]
    """A record's lines in that file."""
    label: str
    """What is so of a question that is through this step, for people."""


def _filter(context: Context) -> Worker[Asked, Unsolved]:
    worker = Filter(context.models["weak"], context.judge, context.params)
    return Decontaminate(context.overlap, worker) if context.overlap else worker


def _generate(context: Context) -> Worker[Unsolved, Traced]:
    return Generate(context.strong, context.judge, context.prompts, context.params)


def _score(context: Context) -> Worker[Traced, Scored]:
    params = context.params
    worker = StepMask(
        weak=context.models["weak"],
        judge=context.judge,
        prompts=context.prompts,
        n=params.n_mask,
        votes=params.majority,
        beta=params.beta,
        normalization=params.ew_normalization,
        scoring=params.scoring,
        seed=params.seed,
        race_width=context.race_width,
        free=context.free,
        bits=context.bits,
    )
    return FaithfulOnly(worker) if params.require_faithful else worker


def _select(context: Context) -> Worker[Scored, Golden]:
    params = context.params
    truncate = Truncate(
        model=context.models.get("truncation"),
        mode=params.truncation,
        prompts=context.prompts,
        temperature=params.trunc_temp,
        counts=context.cuts,
    )
    weights = exact_weights(params.n_mask, beta=params.beta, normalization=params.ew_normalization)
    return Select(truncate, weights, params.seed)


def _sft(_: Context) -> Worker[Golden, SftRow]:
    return Sft()


METHOD: tuple[Step, ...] = (
    Step(
        name="filter",
        number=1,
        makes=Unsolved,
        build=_filter,
        asks=("weak", "judge"),
        file="s_prime.jsonl",
        lines=output_lines.s_prime,
        label="not solved by the weak LLM",
    ),
    Step(
        name="generate",
        number=2,
        makes=Traced,
        build=_generate,
        asks=("strong",),
        calls=lambda params: params.samples_per_model,
        file="candidates.jsonl",
        lines=output_lines.candidates,
        label="with traces by the strong LLMs",
    ),
    Step(
        name="stepmask",
        number=3,
        makes=Scored,
        build=_score,
        asks=("weak", "judge"),
        calls=lambda params: params.majority,
        file="scored_candidates.jsonl",
        lines=output_lines.scored_candidates,
        label="scored by masking",
    ),
    Step(
        name="select",
        number=4,
        makes=Golden,
        build=_select,
        asks=("truncation",),
        file="selected_truncated.jsonl",
        lines=output_lines.selected_truncated,
        label="with a golden trace, cut",
    ),
    Step(
        name="sft",
        number=5,
        makes=SftRow,
        build=_sft,
        asks=(),
        file="finetune.jsonl",
        lines=output_lines.finetune,
        label="emitted as training data",
    ),
)

_BY_NAME = {step.name: step for step in METHOD}
_BY_RECORD = {step.makes: step for step in METHOD}
_LAST = {role: step for step in METHOD for role in step.asks}


def step_named(name: str) -> Step:
    """The step of this name."""
    return _BY_NAME[name]


def step_making(record: type[Any]) -> Step:
    """The step that makes records of this type."""
    return _BY_RECORD[record]


def last_asking(role: str) -> Step:
    """The last step that asks a role; a strong model's is ``strong/NAME``, as in the journal."""
    return _LAST[role.partition("/")[0]]  # type: ignore[index]
