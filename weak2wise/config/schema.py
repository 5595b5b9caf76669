"""The keys of ``config.yaml``. The reference implementation's keys are included, so its file loads unchanged.

Units are in the docstrings. A key left out has the default shown here.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from weak2wise.config.endpoint_settings import EndpointSettings, LimitSettings
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.config.section import (
    LARGEST,
    Count,
    Name,
    Natural,
    Positive,
    Section,
    Share,
    Temperature,
    check_file_name,
    nearest,
)
from weak2wise.errors import ConfigError


class Models(Section, frozen=True, kw_only=True):
    """The endpoint of each role. Every value is the name of an endpoint in ``model_endpoints``.

    Without a ``judge`` the rule alone decides. Without a ``truncation`` model a rule makes the cut.
    """

    section = "models"

    mweak: Name
    mstrong: Annotated[tuple[Name, ...], Meta(min_length=1)]
    judge: Name | None = None
    truncation: Name | None = None


Policy = Literal["retry", "accept", "fail"]


class AnswerPolicy(Section, frozen=True, kw_only=True):
    """What to do with an incomplete answer of a strong model.

    Policies: ``retry`` asks again with another seed, up to ``retries`` times, then the trace fails; ``accept`` takes
    the answer as it is; ``fail`` fails the trace.

    Cases: ``length``: cut off by the token limit, possibly in thinking that is not shown; ``empty``: no text;
    ``content_filter``: withheld by the provider; ``no_final_answer``: no step ``## Final Answer``. An answer with
    neither text nor thinking cannot be accepted: then ``empty`` retries, and ``length`` fails the trace.
    """

    section = "params.outcomes"

    length: Policy = "accept"
    empty: Policy = "accept"
    content_filter: Policy = "fail"
    no_final_answer: Policy = "accept"
    retries: Count = 2


class Params(Section, frozen=True, kw_only=True):
    """The method's parameters (paper, section 3).

    ``filter_attempts``: how often the weak LLM tries the bare question. A question is kept if the share of these that
    solve it is in ``filter_band``, both ends included.
    ``require_faithful``: a trace whose own final answer is not the reference answer is not scored.
    ``min_candidates``: a question continues with this many traces if the others fail; left out, it needs all of them.
    ``scorer`` scores the traces: ``stepmask`` (the paper's), another by name (docs/method.md), or the import path of a
    class, ``module:Class``.
    ``keep``: how many of a question's traces become training data, each with another reasoning; ``pairs``: the best and
    the worst one, as preference data.
    ``min_score``: a question whose best trace has a lower score is dropped; a race ends as soon as none can reach it.
    """

    section = "params"

    skip_filter: bool = False
    filter_attempts: Count = 1
    filter_band: tuple[Share, Share] = (0.0, 0.75)
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
    min_score: Annotated[float, Meta(ge=-LARGEST, le=LARGEST)] | None = None
    keep: Count | Literal["pairs"] = 1

    def __post_init__(self) -> None:
        """Check each key, then the band. Raises ``ConfigError``."""
        super().__post_init__()
        low, high = self.filter_band
        if low > high:
            raise ConfigError(f"params.filter_band: expected the lower share first, found [{low}, {high}]")
        if not any(low <= right / self.filter_attempts <= high for right in range(self.filter_attempts + 1)):
            raise ConfigError(
                f"params.filter_band: {self.filter_attempts} attempts have no share of successes in [{low}, {high}]"
            )


class Columns(Section, frozen=True, kw_only=True):
    """The input's field names."""

    section = "dataset.columns"

    question: Name = "question"
    answer: Name = "answer"
    id: Name = "id"


class Dataset(Section, frozen=True, kw_only=True):
    """Input and output paths. Relative paths are relative to the current folder.

    ``input_path`` may be left out if the questions are passed in code. ``decontaminate`` names evaluation sets; their
    questions are dropped from the input.
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
        for key in ("input_path", "work_dir", "finetune_out"):
            check_file_name(getattr(self, key) or "", self._key(key))
        for path in self.decontaminate:
            check_file_name(path, self._key("decontaminate"))


class PromptTexts(Section, frozen=True, kw_only=True):
    """The four prompts. One left out has its default (``workers/prompts.py``)."""

    section = "prompts"

    cgen: Name | None = None
    pqr: Name | None = None
    pjudge: Name | None = None
    ptrunc: Name | None = None


class Lanes(Section, frozen=True, kw_only=True):
    """How many questions each stage works on at once. This limits memory; the load is limited by endpoint limits.

    Left out, ``generate`` and ``select`` have as many as fill the endpoint with the highest limit, at least 64;
    ``filter`` and ``stepmask`` as many as the weak LLM takes attempts at once, at least 32 (a race makes one attempt at
    a time).
    """

    section = "engine.lanes"

    filter: Count | None = None
    generate: Count | None = None
    stepmask: Count | None = None
    select: Count | None = None
    sft: Count = 4


class EngineOptions(Section, frozen=True, kw_only=True):
    """Options that affect speed and storage, but no result.

    ``race_width``: how many mask levels a race asks for at once. Left out, it is 1 for a weak LLM over HTTP, where
    wasted attempts cost money; on the embedded engine it is as many as keep it full if few questions are in flight.
    ``salvage_rounds``: how often questions that failed for a temporary reason are tried again, after the others.
    ``max_engine_restarts``: how often a run restarts an embedded engine that has died. ``max_error_rate``: the run
    stops if a larger share of the last 100 calls failed, on every endpoint of one role; 1 never stops it.
    ``max_cost_usd``: a cap for all runs of the work_dir together, with ``preview`` and ``check``. A call is sent only
    if the most that it may cost fits under it; the run stops when no call that waits does. ``wait_for_off_peak``:
    calls to a strong model whose ``prices`` have ``off_peak`` are sent at those hours only; all others go on.
    """

    section = "engine"

    lanes: Lanes = Lanes()
    race_width: Count | None = None
    queue_size: Count = 32
    shard_mb: Count = 64
    fsync_seconds: Annotated[float, Meta(ge=0, le=LARGEST)] = 1.0
    salvage_rounds: Natural = 1
    max_engine_restarts: Natural = 3
    max_error_rate: Share = 0.9
    max_cost_usd: Positive | None = None
    wait_for_off_peak: bool = False


class ClusterOptions(Section, frozen=True, kw_only=True):
    """How a run on many machines is divided. ``part_rows``: the rows that one machine gets at a time."""

    section = "cluster"

    part_rows: Count = 2000


class Config(Section, frozen=True, kw_only=True):
    """A whole run. ``endpoints`` is the file's ``model_endpoints``, each with the keys of its ``type``.

    Raises:
        ConfigError: a key is not valid, or keys contradict each other.
    """

    models: Models
    endpoints: dict[str, EndpointSettings] = field(name="model_endpoints")
    dataset: Dataset = Dataset()
    params: Params = Params()
    prompts: PromptTexts = PromptTexts()
    engine: EngineOptions = EngineOptions()
    cluster: ClusterOptions = ClusterOptions()

    def __post_init__(self) -> None:
        """Check each key, then the rules between keys. Raises ``ConfigError``."""
        super().__post_init__()
        self._check_models()
        self._check_limit_groups()
        self._check_batches()
        in_use = (self.endpoints[name] for name in self.roles().values())
        if self.engine.max_cost_usd is not None and not any(endpoint.cost(1, 0, 1) for endpoint in in_use):
            raise ConfigError("engine.max_cost_usd: no endpoint in use has a price; set model_endpoints.….prices")
        strong = (self.endpoints[name] for name in self.models.mstrong)
        if self.engine.wait_for_off_peak and not any(end.off_peak for end in strong):
            raise ConfigError(
                "engine.wait_for_off_peak: no strong model has off-peak hours; set model_endpoints.….prices.off_peak"
            )

    def _checked(self, name: str, kind: Any, key: str) -> Any:
        if name != "endpoints":
            return super()._checked(name, kind, key)
        if not isinstance(self.endpoints, dict):
            raise ConfigError(f"{key}: expected a mapping of endpoint names")
        return {str(name): decode_endpoint(value, f"{key}.{name}") for name, value in self.endpoints.items()}

    def _check_models(self) -> None:
        """Check that names exist and are distinct, and that the roles which the method needs are set."""
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

    def _check_batches(self) -> None:
        """Check that nothing is batched of which one call waits for another's answer, each for up to a day."""
        models, params = self.models, self.params
        if models.judge and self.endpoints[models.judge].batched:
            raise ConfigError(
                f"models.judge: every verdict would wait for a batch (model_endpoints.{models.judge}.batch); give the "
                "judge an endpoint without batch"
            )
        if not self.endpoints[models.mweak].batched:
            return
        key = f"model_endpoints.{models.mweak}.batch"
        if params.scorer != "stepmask":
            raise ConfigError(
                f"{key}: params.scorer {params.scorer} may wait for one answer before it asks for the next, each time "
                "for a batch; leave out batch for the weak LLM"
            )
        if params.scoring == "race":
            raise ConfigError(
                f"{key}: a race waits for one attempt before it makes the next, each time for a batch; set "
                "params.scoring: exhaustive, or leave out batch for the weak LLM"
            )

    def _check_limit_groups(self) -> None:
        """Check that endpoints which share limits have the same ones."""
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
        """The endpoint name of each role, in the order of the method. A strong model's role is ``strong/NAME``."""
        roles = {"weak": self.models.mweak}
        roles |= {f"strong/{name}": name for name in self.models.mstrong}
        if self.models.judge:
            roles["judge"] = self.models.judge
        if self.models.truncation:
            roles["truncation"] = self.models.truncation
        return roles


def input_of(config: Config) -> Path:
    """The file of questions. Raises ``ConfigError`` if the config does not name one."""
    if config.dataset.input_path is None:
        raise ConfigError("dataset.input_path: missing; it names the file of questions")
    return Path(config.dataset.input_path)
