"""The keys of ``config.yaml``: a superset of the reference implementation's, so that its file loads unchanged.

Units are in the key's docstring; a key left out takes the default shown here.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from weak2wise.config.endpoints import EndpointSettings, LimitSettings, decode_endpoint
from weak2wise.config.section import Count, Name, Natural, Positive, Section, Share, Temperature, nearest
from weak2wise.errors import ConfigError


class Models(Section, frozen=True, kw_only=True):
    """Which endpoint plays which role; every value names a key of ``model_endpoints``.

    Without a ``judge`` the rule decides alone; without a ``truncation`` model the cut is made by rule.
    """

    section = "models"

    mweak: Name
    mstrong: Annotated[tuple[Name, ...], Meta(min_length=1)]
    judge: Name | None = None
    truncation: Name | None = None


Policy = Literal["retry", "accept", "fail"]


class AnswerPolicy(Section, frozen=True, kw_only=True):
    """What to make of a strong model's answer that is not all it should be.

    ``retry`` asks again with another seed, ``retries`` times, before the trace fails; ``accept`` takes the answer as it
    is; ``fail`` does without this trace. ``length``: cut off by the token limit, be it in thinking that is not shown;
    ``empty``: no text; ``content_filter``: withheld by the provider; ``no_final_answer``: no step ``## Final Answer``.
    Of an answer with neither text nor thinking there is nothing to accept: ``empty`` is then tried again, ``length``
    does without.
    """

    section = "params.outcomes"

    length: Policy = "accept"
    empty: Policy = "accept"
    content_filter: Policy = "fail"
    no_final_answer: Policy = "accept"
    retries: Count = 2


class Params(Section, frozen=True, kw_only=True):
    """The method's parameters (paper, section 3).

    ``require_faithful`` scores no trace whose own final answer is not the reference answer. ``min_candidates``: with
    how many traces a question goes on where the others cannot be had; left out, it fails without all of them.
    ``scorer`` is what weighs the traces: ``stepmask``, the paper's, or the import path of a class, ``module:Class``.
    """

    section = "params"

    skip_filter: bool = False
    samples_per_model: Count = 3
    gen_temperature: Temperature = 0.6
    n_mask: Count = 6
    beta: Share = 0.5
    majority: Count = 1
    judge_temperature: Temperature = 0.1
    trunc_temp: Temperature = 0.1
    judge_mode: Literal["rule", "llm", "cascade"] = "cascade"
    ew_normalization: Literal["reference", "unit"] = "reference"
    truncation: Literal["anchor", "rewrite", "rule"] = "anchor"
    scoring: Literal["race", "exhaustive"] = "race"
    outcomes: AnswerPolicy = AnswerPolicy()
    require_faithful: bool = False
    min_candidates: Count | None = None
    seed: Natural = 0
    scorer: Name = "stepmask"


class Columns(Section, frozen=True, kw_only=True):
    """The input's field names."""

    section = "dataset.columns"

    question: Name = "question"
    answer: Name = "answer"
    id: Name = "id"


class Dataset(Section, frozen=True, kw_only=True):
    """Where questions come from and results go; relative paths are relative to the current folder.

    ``input_path`` may be left out where the questions are handed over in code. ``decontaminate`` names evaluation sets
    whose questions are dropped.
    """

    section = "dataset"

    input_path: Name | None = None
    work_dir: Name = "data/work"
    finetune_out: Name | None = None
    columns: Columns = Columns()
    decontaminate: tuple[Name, ...] = ()

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        self._expand_user("input_path", "work_dir", "finetune_out", "decontaminate")


class PromptTexts(Section, frozen=True, kw_only=True):
    """The four prompts; one left out is ours (``workers/prompts.py``)."""

    section = "prompts"

    cgen: Name | None = None
    pqr: Name | None = None
    pjudge: Name | None = None
    ptrunc: Name | None = None


class Lanes(Section, frozen=True, kw_only=True):
    """How many questions each stage works on at once: this bounds memory, an endpoint's limits bound its load.

    Left out, ``generate`` and ``select`` are as many as fill their widest endpoint, at least 64; ``filter`` and
    ``stepmask`` as many as the weak LLM takes attempts at once, at least 32: a race asks for one at a time.
    """

    section = "engine.lanes"

    filter: Count | None = None
    generate: Count | None = None
    stepmask: Count | None = None
    select: Count | None = None
    sft: Count = 4


class EngineOptions(Section, frozen=True, kw_only=True):
    """What shapes speed and storage but no result.

    ``race_width`` is how many mask levels a race asks at once. Left out, it is 1 for a weak LLM over HTTP, where what
    is wasted is paid for, and on the embedded engine whatever keeps it full if too few questions are in flight.
    ``salvage_rounds``: how often questions that failed for what may pass are tried again, after all the others.
    ``max_engine_restarts``: how often a run starts an embedded engine again that has died. ``max_error_rate``: the run
    stops when a larger share of the last 100 calls failed, for every endpoint of one role; 1 never stops it.
    ``max_cost_usd``: the run stops, after what is in flight has arrived, when all runs of the work_dir have cost that.
    """

    section = "engine"

    lanes: Lanes = Lanes()
    race_width: Count | None = None
    queue_size: Count = 32
    shard_mb: Count = 256
    fsync_seconds: Positive = 1.0
    salvage_rounds: Natural = 1
    max_engine_restarts: Natural = 3
    max_error_rate: Share = 0.9
    max_cost_usd: Positive | None = None


class Config(Section, frozen=True, kw_only=True):
    """A whole run. ``endpoints`` is the file's ``model_endpoints``, each with the keys of its ``type``.

    Raises:
        ConfigError: also where keys do not go together.
    """

    models: Models
    endpoints: dict[str, EndpointSettings] = field(name="model_endpoints")
    dataset: Dataset = Dataset()
    params: Params = Params()
    prompts: PromptTexts = PromptTexts()
    engine: EngineOptions = EngineOptions()

    def __post_init__(self) -> None:
        """Check each key, then the rules that cross keys. Raises ``ConfigError``."""
        super().__post_init__()
        self._check_models()
        self._check_limit_groups()
        in_use = (self.endpoints[name] for name in self.roles().values())
        if self.engine.max_cost_usd is not None and not any(endpoint.cost(1, 0, 1) for endpoint in in_use):
            raise ConfigError("engine.max_cost_usd: nothing in use has a price; give model_endpoints.….prices")

    def _checked(self, name: str, kind: Any, key: str) -> Any:
        if name != "endpoints":
            return super()._checked(name, kind, key)
        if not isinstance(self.endpoints, dict):
            raise ConfigError(f"{key}: expected a mapping of endpoint names")
        return {str(name): decode_endpoint(value, f"{key}.{name}") for name, value in self.endpoints.items()}

    def _check_models(self) -> None:
        """Names resolve and are distinct, and the roles that the method needs are there."""
        models, params = self.models, self.params
        if len(set(models.mstrong)) < len(models.mstrong):
            raise ConfigError(
                "models.mstrong: an endpoint is named twice; use params.samples_per_model for more samples"
            )
        if params.judge_mode == "llm" and models.judge is None:
            raise ConfigError("models.judge: missing; params.judge_mode is llm")
        if params.truncation == "rewrite" and models.truncation is None:
            raise ConfigError("models.truncation: missing; params.truncation is rewrite")
        traces = len(models.mstrong) * params.samples_per_model
        if (params.min_candidates or 0) > traces:
            raise ConfigError(f"params.min_candidates: expected at most {traces}, the number of traces of a question")
        for role, name in self.roles().items():
            if name not in self.endpoints:
                key = {"weak": "mweak"}.get(role, "mstrong" if role.startswith("strong/") else role)
                raise ConfigError(
                    f"models.{key}: no endpoint {name!r} in model_endpoints; {nearest(name, self.endpoints)}"
                )

    def _check_limit_groups(self) -> None:
        """Endpoints that share limits agree on them."""
        first: dict[str, tuple[str, LimitSettings]] = {}
        for name, endpoint in self.endpoints.items():
            limits = endpoint.limits
            if limits.limit_group is None:
                continue
            other, like = first.setdefault(limits.limit_group, (name, limits))
            for key, here, there in zip(limits._fields, limits, like, strict=True):
                if here != there:
                    raise ConfigError(
                        f"model_endpoints.{name}.{key}: expected the same as for {other}; both are in limit_group "
                        f"{limits.limit_group}"
                    )

    def roles(self) -> dict[str, str]:
        """Role to endpoint name, in the order of the method; a strong model's role is ``strong/NAME``."""
        roles = {"weak": self.models.mweak}
        roles |= {f"strong/{name}": name for name in self.models.mstrong}
        if self.models.judge:
            roles["judge"] = self.models.judge
        if self.models.truncation:
            roles["truncation"] = self.models.truncation
        return roles


def input_of(config: Config) -> Path:
    """Where the questions are read from. Raises ``ConfigError`` if the config does not name it."""
    if config.dataset.input_path is None:
        raise ConfigError("dataset.input_path: missing; it names the file of questions")
    return Path(config.dataset.input_path)
