"""The method: its five steps in order, and what each one is. Everything that depends on the steps reads this table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from weak2wise.config import Params
from weak2wise.worker import Worker
from workers import output_lines
from workers.context import Context
from workers.decontaminate import Decontaminate
from workers.filter import Filter
from workers.generate import Generate
from workers.records import Asked, Golden, Scored, SftRow, Traced, Unsolved
from workers.score import ScoreCandidates
from workers.scorers import Scorer
from workers.select import Select
from workers.sft import Sft
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
    """The type of record that it makes from the one before."""
    build: Callable[[Context, Scorer], Worker[Any, Any]]
    asks: tuple[Role, ...]
    """The kinds of role that it asks, first the one that does most of its work."""
    calls: Callable[[Params], int] = _one_call
    """How many calls to a model of that role one record makes at once."""
    file: str
    """Its output file's name in the work_dir."""
    lines: Callable[[Any], Iterator[output_lines.Line]]
    """A record's lines in that file."""
    label: str | None = None
    """What is true of a question that passed this step, in words for people; ``None``: the scorer's label."""


def _filter(context: Context, _: Scorer) -> Worker[Asked, Unsolved]:
    worker = Filter(context.models["weak"], context.judge, context.params)
    return Decontaminate(context.overlap, worker) if context.overlap else worker


def _generate(context: Context, _: Scorer) -> Worker[Unsolved, Traced]:
    return Generate(context.strong, context.judge, context.prompts, context.params, context.rules)


def _score(context: Context, scorer: Scorer) -> Worker[Traced, Scored]:
    return ScoreCandidates(scorer, context.params.require_faithful)


def _select(context: Context, scorer: Scorer) -> Worker[Scored, Golden]:
    params = context.params
    truncate = Truncate(
        model=context.models.get("truncation"),
        mode=params.truncation,
        prompts=context.prompts,
        temperature=params.trunc_temp,
        counts=context.cuts,
        rules=context.rules,
    )
    return Select(truncate, scorer, params.seed)


def _sft(_context: Context, _: Scorer) -> Worker[Golden, SftRow]:
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
