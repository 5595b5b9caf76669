"""The method: its five steps in order, and what each one is. Everything that depends on the steps reads this table."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from weak2wise.config import Params, Response
from weak2wise.worker import Worker
from workers import output_lines
from workers.context import Context
from workers.decontaminate import Decontaminate
from workers.dedup import Dedup
from workers.filter import Filter
from workers.generate import Generate
from workers.records import Asked, Golden, Scored, SftRow, Traced, Unsolved
from workers.score import ScoreCandidates
from workers.scorers import Scorer, fewest
from workers.select import Select
from workers.sft import Sft
from workers.truncate import Truncate

Role = Literal["weak", "strong", "judge", "truncation"]


_ROLE_OF: dict[str, Role] = {"mweak": "weak", "mstrong": "strong", "judge": "judge", "truncation": "truncation"}
"""The role of each key under ``models``."""


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
    """How many calls to a model of that role one record makes at once, at least."""
    settings: tuple[str, ...]
    """The config keys, or the beginnings of keys, that its outcomes depend on, besides those of its models."""
    file: str
    """Its output file's name in the work_dir."""
    lines: Callable[[Any], Iterator[output_lines.Line]]
    """A record's lines in that file."""
    label: str | None = None
    """What is true of a question that passed this step, in words for people; ``None``: the scorer's label."""

    def depends_on(self, key: str, shapes: Iterable[Mapping[str, Any]]) -> bool:
        """Whether this step's outcomes depend on a key of these result shapes. A key that no step names: all do."""
        section, _, rest = key.partition(".")
        if section == "models":
            return _ROLE_OF.get(rest) in self.asks
        if section == "model_endpoints":
            return any(rest.startswith(f"{name}.") for shape in shapes for name in self._endpoints(shape))
        return key.startswith(self.settings) or not key.startswith(_NAMED)

    def _endpoints(self, shape: Mapping[str, Any]) -> Iterator[str]:
        """The names of the endpoints that it asks."""
        for key, role in _ROLE_OF.items():
            if role in self.asks and (names := shape.get(f"models.{key}")):
                yield from [names] if isinstance(names, str) else names


def _filter(context: Context, _: Scorer) -> Worker[Asked, Unsolved]:
    worker: Worker[Asked, Unsolved] = Filter(context.models["weak"], context.judge, context.params)
    if context.duplicates:
        worker = Dedup(context.duplicates, worker)
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
    return Select(truncate, scorer, params.seed, params.keep)


def _sft(context: Context, _: Scorer) -> Worker[Golden, SftRow]:
    params = context.params
    return Sft(Response.parse(params.response, "params.response"), params.keep == "pairs")


_JUDGING = ("params.judge_", "params.seed", "prompts.pjudge")
_RANKING = ("params.beta", "params.ew_normalization", "params.scorer")

METHOD: tuple[Step, ...] = (
    Step(
        name="filter",
        number=1,
        makes=Unsolved,
        build=_filter,
        asks=("weak", "judge"),
        settings=("dataset.", "params.skip_filter", "params.filter_", "params.gen_temperature", *_JUDGING),
        calls=lambda params: params.filter_attempts,
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
        settings=(
            *("params.samples_per_model", "params.gen_temperature", "params.outcomes", "params.min_candidates"),
            *("params.seed", "prompts.cgen"),
        ),
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
        settings=(
            *("params.n_mask", "params.majority", "params.scoring", "params.require_faithful", "params.min_score"),
            *("params.keep", "prompts.pqr"),
            *_RANKING,
            *_JUDGING,
        ),
        calls=lambda params: fewest({}, 0, params.majority),
        file="scored_candidates.jsonl",
        lines=output_lines.scored_candidates,
    ),
    Step(
        name="select",
        number=4,
        makes=Golden,
        build=_select,
        asks=("truncation",),
        settings=("params.trunc", "params.seed", "params.keep", "prompts.ptrunc", "prompts.panchor", *_RANKING),
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
        settings=("params.keep", "params.response"),
        file="finetune.jsonl",
        lines=output_lines.finetune,
        label="emitted as training data",
    ),
)

_NAMED = tuple(key for step in METHOD for key in step.settings)
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
    """The last step that asks a role; a strong model's is ``strong/NAME``, as in the journal.

    Raises:
        ValueError: there is no such role.
    """
    try:
        return _LAST[role.partition("/")[0]]  # type: ignore[index]
    except KeyError:
        raise ValueError(f"{role}: no role of the method") from None
