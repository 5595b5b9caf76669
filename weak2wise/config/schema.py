"""The keys of ``config.yaml``: a superset of the reference implementation's, so that its file loads unchanged.

msgspec checks types and bounds while decoding, not in constructors; values made in code are trusted.
Units are in the key's docstring; a key left out takes the default shown here.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Count = Annotated[int, Meta(ge=1)]
"""At least one."""
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Temperature = Annotated[float, Meta(ge=0, le=5)]
Price = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1)]
Url = Annotated[str, Meta(pattern=r"^https?://[^/\s@?#]+[^\s@?#]*$")]
"""A base to which a path is added; no user, password or query, which would be secrets in a file."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in the file; a key it does not know is an error."""


class Models(Section, frozen=True, kw_only=True):
    """Which endpoint plays which role; every value names a key of ``model_endpoints``.

    Without a ``judge`` the rule decides alone; without a ``truncation`` model the cut is made by rule.
    """

    mweak: Name
    mstrong: Annotated[tuple[Name, ...], Meta(min_length=1)]
    judge: Name | None = None
    truncation: Name | None = None


class GenerationKwargs(Section, frozen=True, kw_only=True):
    """How a model samples. The method's own temperatures rule; ``temperature`` here is read for the reference's sake.

    ``do_sample: false`` means greedy, whatever the temperature.
    """

    max_new_tokens: Count | None = None
    do_sample: bool = True
    temperature: Temperature | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: int | None = None
    min_p: Share | None = None
    repetition_penalty: Positive | None = None


class Prices(Section, frozen=True, kw_only=True):
    """US dollars per million tokens; cached input costs as much as other input unless told otherwise."""

    input: Price = 0.0
    cached_input: Price | None = None
    output: Price = 0.0

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """US dollars for one call; ``prompt_tokens`` include the cached ones."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.input + cached_tokens * cached + completion_tokens * self.output) / 1e6


class OpenAIEndpoint(Section, frozen=True, kw_only=True, tag="openai", tag_field="type"):
    """A model behind an OpenAI-compatible ``/chat/completions``.

    The three limits are ceilings that hold together; one left out is learned, and a 429 slows requests down, configured
    or not. Endpoints that name the same ``limit_group`` share one set of limits, as they share a key.
    ``base_urls``, in place of ``base_url``, are replicas of one model; a call goes where fewest are in flight.

    ``request_timeout`` (seconds) starts when the request is sent. With ``stream`` the answer comes as server-sent
    events and may take as long as it likes: then ``idle_timeout`` is the longest silence and ``request_timeout`` the
    longest time without a word of the answer. More than ``max_response_mb`` is no answer. When an endpoint is down,
    calls wait for it, but no longer than ``outage_patience`` (seconds). ``max_retries`` counts
    retries of one call after transport faults; waiting out a 429 is not one.

    ``extra_body`` is merged into the request last, and a null in it removes a key we would send (``seed``,
    ``max_tokens``). A header value ``$NAME`` is read from the environment.
    ``device`` and ``tokenizer_kwargs`` are accepted for the reference's sake and mean nothing over HTTP.
    """

    model_id: Name | None = None
    model_name: Name | None = None
    base_url: Url = "https://api.openai.com/v1"
    base_urls: tuple[Url, ...] = ()
    api_key_env: Name | None = None
    generation_kwargs: GenerationKwargs = GenerationKwargs()
    device: str | None = None
    tokenizer_kwargs: dict[str, Any] = {}
    max_concurrent_requests: Count | None = None
    max_requests_per_minute: Positive | None = None
    max_tokens_per_minute: Positive | None = None
    limit_group: Name | None = None
    max_retries: Natural = 6
    request_timeout: Positive = 1800.0
    stream: bool = False
    idle_timeout: Positive = 300.0
    max_response_mb: Count = 64
    outage_patience: Positive = 600.0
    max_tokens: Count = 8192
    prices: Prices = Prices()
    extra_body: dict[str, Any] = {}
    headers: dict[str, str] = {}

    @property
    def model(self) -> str:
        """The name the provider knows the model by."""
        name = self.model_id or self.model_name
        assert name is not None  # checked when loading
        return name

    def secrets(self) -> dict[str, str]:
        """Header to the environment variable that its value comes from; the API key's header is ``Authorization``.

        Without ``api_key_env`` there is a key only for OpenAI itself, in ``OPENAI_API_KEY``.
        """
        variables = {header: value[1:] for header, value in self.headers.items() if value.startswith("$")}
        of_openai = not self.base_urls and f"{self.base_url}/".startswith("https://api.openai.com/")
        key = self.api_key_env or ("OPENAI_API_KEY" if of_openai else None)
        if key and not any(header.casefold() == "authorization" for header in self.headers):
            variables["Authorization"] = key
        return variables


DEFAULT_NEW_TOKENS = 8192
"""Of one answer of an embedded model, where ``max_new_tokens`` is left out: the reference's."""


class VllmEndpoint(Section, frozen=True, kw_only=True, tag="vllm", tag_field="type"):
    """A model on the vLLM engine embedded in this process.

    Keys from ``dtype`` on are vLLM's own engine arguments under their own names; ``engine_args`` takes any other of
    them. Left out, vLLM's defaults hold. ``data_parallel_size`` copies of the model share the calls, each with room for
    ``max_num_seqs`` and ``tensor_parallel_size`` x ``pipeline_parallel_size`` GPUs.
    ``max_new_tokens`` defaults to ``DEFAULT_NEW_TOKENS``, at most the model's room.
    ``chat_template: false`` feeds the bare text, for base models that have no template. ``end_repetition`` ends an
    answer that only repeats itself: it would go on to the token limit and never come to an end.
    """

    model_id: Name | None = None
    model_name: Name | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    device: str | None = None
    tokenizer_kwargs: dict[str, Any] = {}
    generation_kwargs: GenerationKwargs = GenerationKwargs()
    chat_template: bool = True
    end_repetition: bool = True
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    revision: str | None = None
    download_dir: str | None = None
    max_model_len: Count | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    data_parallel_size: Count | None = None
    tensor_parallel_size: Count | None = None
    pipeline_parallel_size: Count | None = None
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    enforce_eager: bool | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    trust_remote_code: bool | None = None
    engine_args: dict[str, Any] = {}

    @property
    def model(self) -> str:
        """A local folder or a hub name; the reference writes it as ``model_name``."""
        name = self.model_name or self.model_id
        assert name is not None  # checked when loading
        return name


class TransformersEndpoint(VllmEndpoint, frozen=True, kw_only=True, tag="transformers", tag_field="type"):
    """The reference's local model; it runs on the same embedded engine."""


Endpoint = OpenAIEndpoint | VllmEndpoint


Policy = Literal["retry", "accept", "fail"]


class Outcomes(Section, frozen=True, kw_only=True):
    """What to make of a strong model's answer that is not all it should be.

    ``retry`` asks again with another seed, ``retries`` times, before the trace fails; ``accept`` takes the answer as it
    is; ``fail`` does without this trace. ``length``: cut off by the token limit, be it in thinking that is not shown;
    ``empty``: no text; ``content_filter``: withheld by the provider; ``no_final_answer``: no step ``## Final Answer``.
    Of an answer with neither text nor thinking there is nothing to accept: ``empty`` is then tried again, ``length``
    does without.
    """

    length: Policy = "accept"
    empty: Policy = "accept"
    content_filter: Policy = "fail"
    no_final_answer: Policy = "accept"
    retries: Count = 2


class Params(Section, frozen=True, kw_only=True):
    """The method's parameters (paper, section 3).

    ``require_faithful`` scores no trace whose own final answer is not the reference answer. ``min_candidates``: with
    how many traces a question goes on where the others cannot be had; left out, it fails without all of them.
    """

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
    outcomes: Outcomes = Outcomes()
    require_faithful: bool = False
    min_candidates: Count | None = None
    seed: Natural = 0
    scorer: Name = "stepmask"


class Columns(Section, frozen=True, kw_only=True):
    """The input's field names."""

    question: Name = "question"
    answer: Name = "answer"
    id: Name = "id"


class Dataset(Section, frozen=True, kw_only=True):
    """Where questions come from and results go; relative paths are relative to the current folder.

    ``decontaminate`` names evaluation sets whose questions are dropped.
    """

    input_path: Name
    work_dir: Name = "data/work"
    finetune_out: Name | None = None
    columns: Columns = Columns()
    decontaminate: tuple[Name, ...] = ()


class PromptTexts(Section, frozen=True, kw_only=True):
    """The four prompts; one left out is ours (``workers/prompts.py``)."""

    cgen: Name | None = None
    pqr: Name | None = None
    pjudge: Name | None = None
    ptrunc: Name | None = None


class Lanes(Section, frozen=True, kw_only=True):
    """How many questions each stage works on at once: this bounds memory, an endpoint's limits bound its load.

    Left out, ``generate`` and ``select`` are as many as fill their widest endpoint, at least 64; ``filter`` and
    ``stepmask`` as many as the weak LLM takes attempts at once, at least 32: a race asks for one at a time.
    """

    filter: Count | None = None
    generate: Count | None = None
    stepmask: Count | None = None
    select: Count | None = None
    sft: Count = 4


class EngineOptions(Section, frozen=True, kw_only=True):
    """What shapes speed and storage but no result.

    ``race_width`` is how many mask levels a race asks at once. Left out, it is 1 for a weak LLM over HTTP, where what
    is asked in vain is paid for, and on the embedded engine whatever keeps it full if too few questions are in flight.
    ``salvage_rounds``: how often questions that failed for what may pass are tried again, after all the others.
    ``max_engine_restarts``: how often a run starts an embedded engine again that has died. ``max_error_rate``: the run
    stops when a larger share of the last 100 calls failed, for every endpoint of one role; 1 never stops it.
    ``max_cost_usd``: the run stops, after what is in flight has arrived, when all runs of the work_dir have cost that.
    """

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
    """A whole run. ``endpoints`` is the file's ``model_endpoints``, each decoded by its ``type``."""

    models: Models
    endpoints: dict[str, Endpoint] = field(name="model_endpoints")
    dataset: Dataset
    params: Params = Params()
    prompts: PromptTexts = PromptTexts()
    engine: EngineOptions = EngineOptions()

    def roles(self) -> dict[str, str]:
        """Role to endpoint name, in the order of the method; a strong model's role is ``strong/NAME``."""
        roles = {"weak": self.models.mweak}
        roles |= {f"strong/{name}": name for name in self.models.mstrong}
        if self.models.judge:
            roles["judge"] = self.models.judge
        if self.models.truncation:
            roles["truncation"] = self.models.truncation
        return roles
