"""The keys of ``config.yaml``. The reference implementation's keys are included, so its file loads unchanged.

Units are in the docstrings. A key left out has the default shown here.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from weak2wise.config.endpoint_settings import EndpointSettings, LimitSettings
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.config.notify import NotifySettings
from weak2wise.config.prove import ProveSettings
from weak2wise.config.response import Response
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
from weak2wise.config.train import TrainSettings
from weak2wise.errors import ConfigError


class Models(Section, frozen=True, kw_only=True):
    """The endpoint of each role. Every value is the name of an endpoint in ``model_endpoints``."""

    section = "models"

    mweak: Name
    """The weak LLM: the one to be taught. It filters the questions and scores the traces."""
    mstrong: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """The strong LLMs. Each writes ``params.samples_per_model`` traces for a question."""
    judge: Name | None = None
    """Asked where the rule cannot decide whether an answer is right. Left out, the rule alone decides."""
    truncation: Name | None = None
    """Quotes the sentence in which the answer is first derived. Left out, a rule makes the cut."""


Policy = Literal["retry", "accept", "fail"]


class AnswerPolicy(Section, frozen=True, kw_only=True):
    """What to do with an incomplete answer of a strong model.

    Policies: ``retry`` asks again with another seed, up to ``retries`` times, then the trace fails; ``accept``
    takes the answer as it is; ``fail`` fails the trace. An answer with neither text nor thinking cannot be
    accepted: then ``empty`` retries, and ``length`` fails the trace.
    """

    section = "params.outcomes"

    length: Policy = "accept"
    """It was cut off by the token limit, possibly in thinking that is not shown."""
    empty: Policy = "accept"
    """It has no text, only thinking."""
    content_filter: Policy = "fail"
    """The provider withheld it."""
    no_final_answer: Policy = "accept"
    """It has no step ``## Final Answer``, so a hint may show the answer."""
    retries: Count = 2
    """How many other seeds are tried."""


class Params(Section, frozen=True, kw_only=True):
    """The method's parameters (paper, section 3)."""

    section = "params"

    skip_filter: bool = False
    """Keep every question without asking the weak LLM."""
    filter_attempts: Count = 1
    """How often the weak LLM tries the bare question."""
    filter_band: tuple[Share, Share] = (0.0, 0.75)
    """A question is kept if the share of these attempts that solve it is in this band, both ends included."""
    samples_per_model: Count = 3
    """How many traces each strong LLM writes for a question."""
    gen_temperature: Temperature = 0.6
    """The temperature of traces, and of the filter's attempts."""
    n_mask: Count = 6
    """The number of mask levels."""
    beta: Share = 0.5
    """The weight of the plain average of a trace's bits; the rest is the weight of the exponential average."""
    majority: Count = 1
    """Attempts for each mask level. The largest group with one final answer is judged."""
    judge_temperature: Temperature = 0.1
    """The temperature of the judge LLM."""
    trunc_temp: Temperature = 0.1
    """The temperature of the truncation model."""
    judge_mode: Literal["rule", "llm", "cascade"] = "cascade"
    """``rule``: the rule alone judges. ``llm``: the judge LLM alone. ``cascade``: the rule, and the judge LLM where
    the rule cannot decide."""
    ew_normalization: Literal["reference", "unit"] = "reference"
    """``reference``: as the authors' code, where a perfect trace scores 0.6 with the defaults. ``unit``: a perfect
    trace scores 1."""
    truncation: Literal["anchor", "rewrite", "rule"] = "anchor"
    """``anchor``: the truncation model quotes one sentence. ``rewrite``: it copies the text up to the cut, as in
    the authors' code. ``rule``: no LLM."""
    scoring: Literal["race", "exhaustive"] = "race"
    """``race``: ask only for the mask levels that prove the winner. ``exhaustive``: ask for all."""
    outcomes: AnswerPolicy = AnswerPolicy()
    """What to do with incomplete answers of strong models."""
    require_faithful: bool = False
    """Do not score a trace whose own final answer is not the reference answer."""
    min_candidates: Count | None = None
    """A question goes on with this many traces if the others fail. Left out, it needs all of them."""
    seed: Natural = 0
    """The seed of every draw."""
    scorer: Name = "stepmask"
    """What scores the traces: ``stepmask`` (the paper's), another by name (docs/method.md), or the import path of a
    class, ``module:Class``."""
    min_score: Annotated[float, Meta(ge=-LARGEST, le=LARGEST)] | None = None
    """Drop a question whose best trace has a lower score. A race ends as soon as none can reach it."""
    keep: Count | Literal["pairs"] = 1
    """How many of a question's traces become training data, each with another reasoning. ``pairs``: the best and
    the worst one, as preference data."""
    response: Name = "reference"
    r"""How a training row's response is put together: ``reference``, ``think``, ``boxed``, ``none``, or a text with
    ``{trace}`` and ``{answer}``, as in ``"<think>\n{trace}\n</think>\n\n\boxed{answer}"``."""

    def __post_init__(self) -> None:
        """Check each key, then the band and the response. Raises ``ConfigError``."""
        super().__post_init__()
        Response.parse(self.response, self._key("response"))
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
    """The field of the question."""
    answer: Name = "answer"
    """The field of the reference answer."""
    id: Name = "id"
    """The field of an id, which is only carried along."""


class Dataset(Section, frozen=True, kw_only=True):
    """Input and output paths. Relative paths are relative to the current folder."""

    section = "dataset"

    input_path: Name | None = None
    """The questions: a file, or ``hf:owner/name``. Left out if the questions are passed in code."""
    work_dir: Name = "data/work"
    """The folder in which the run keeps everything. The same folder resumes the run."""
    finetune_out: Name | None = None
    """The file of training data. Left out: ``finetune.jsonl`` in ``work_dir``."""
    columns: Columns = Columns()
    """The input's field names."""
    decontaminate: tuple[Name, ...] = ()
    """Evaluation sets. Their questions are dropped from the input."""
    dedup: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Questions that nearly repeat an earlier one are dropped, those with at least this similarity. Left out: none."""

    def __post_init__(self) -> None:
        """Check each key. Raises ``ConfigError``."""
        super().__post_init__()
        self._expand_user("input_path", "work_dir", "finetune_out", "decontaminate")
        for key in ("input_path", "work_dir", "finetune_out"):
            check_file_name(getattr(self, key) or "", self._key(key))
        for path in self.decontaminate:
            check_file_name(path, self._key("decontaminate"))


class PromptTexts(Section, frozen=True, kw_only=True):
    """The prompts. One left out has its default (``workers/prompts.py``). ``{{`` and ``}}`` are literal braces.

    A run goes on with the defaults that it was begun with, also if a later version of weak2wise has others.
    """

    section = "prompts"

    cgen: Name | None = None
    """Asks a strong LLM for a trace. Sent as it is, before the question."""
    pqr: Name | None = None
    """Asks the weak LLM, with ``{question}`` and the hint ``{step_reasoning}``."""
    pjudge: Name | None = None
    """Asks the judge LLM, with ``{question}``, ``{attempt}`` and ``{answer}``."""
    ptrunc: Name | None = None
    """Asks the truncation model, with ``{normal_reasoning}`` and ``{answer}``."""
    panchor: Name | None = None
    """Asks it only for the last sentence to keep, with the same two (``params.truncation: anchor``)."""


class Lanes(Section, frozen=True, kw_only=True):
    """How many questions each stage works on at once. This limits memory; endpoint limits limit the load.

    Left out, ``generate`` and ``select`` have as many as fill the endpoint with the highest limit, at least 64;
    ``filter`` and ``stepmask`` as many as the weak LLM takes attempts at once, at least 32 (a race makes one
    attempt at a time).
    """

    section = "engine.lanes"

    filter: Count | None = None
    """Questions that the weak LLM tries."""
    generate: Count | None = None
    """Questions for which traces are written."""
    stepmask: Count | None = None
    """Questions whose traces are scored."""
    select: Count | None = None
    """Questions whose best trace is cut."""
    sft: Count = 4
    """Questions that become training rows."""


class EngineOptions(Section, frozen=True, kw_only=True):
    """Options that affect speed and storage, but no result."""

    section = "engine"

    lanes: Lanes = Lanes()
    """How many questions each stage works on at once."""
    race_width: Count | None = None
    """How many mask levels a race asks for at once. Left out, it is 1 for a weak LLM over HTTP, where wasted
    attempts cost money; on the embedded engine it is as many as keep it full if few questions are in flight."""
    queue_size: Count = 32
    """How many questions wait between two stages."""
    shard_mb: Count = 64
    """Megabytes after which a ledger begins a new file."""
    fsync_seconds: Annotated[float, Meta(ge=0, le=LARGEST)] = 1.0
    """A power cut may lose what arrived in the last such interval; with 0, nothing. A crash loses nothing."""
    salvage_rounds: Natural = 1
    """How often questions that failed for a temporary reason are tried again, after the others."""
    max_engine_restarts: Natural = 3
    """How often a run restarts an embedded engine that has died."""
    max_error_rate: Share = 0.9
    """The run stops if a larger share of the last 100 calls failed, on every endpoint of one role. 1 never stops it."""
    max_cost_usd: Positive | None = None
    """A cap for all runs of the work_dir together, with ``preview``, ``check`` and ``compare``. A call is sent only if
    the most that it may cost fits under it; the run stops when no call that waits does."""
    wait_for_off_peak: bool = False
    """Calls to strong models whose ``prices`` have ``off_peak`` are sent at those hours only. All others go on."""


class ClusterOptions(Section, frozen=True, kw_only=True):
    """How a run on many machines is divided. Without a cluster these keys are valid, and have no effect."""

    section = "cluster"

    part_rows: Count = 2000
    """How many rows of the input one machine gets at a time. What a work_dir was begun with stays."""


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
    prove: ProveSettings = ProveSettings()
    train: TrainSettings = TrainSettings()
    cluster: ClusterOptions = ClusterOptions()
    notify: NotifySettings = NotifySettings()

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
