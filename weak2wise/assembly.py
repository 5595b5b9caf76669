"""Builds one run from its config: endpoints behind their wrappers, the five workers, their ledgers.

An ``Assembly`` is a value: several may live in one process, each with its own work_dir.
"""

import math
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.config.shape import answer_settings
from weak2wise.dataset import read_questions
from weak2wise.ledger.journal import Journal, Journaled
from weak2wise.ledger.outcomes import Ledger, Status
from weak2wise.llm.error_rate import ErrorRate
from weak2wise.llm.gate import Gate
from weak2wise.llm.limits import MOST_IN_FLIGHT, Limits
from weak2wise.llm.model import Model
from weak2wise.llm.openai import OpenAIModel, limits_of
from weak2wise.llm.purse import Purse
from weak2wise.llm.restart import Restarted
from weak2wise.llm.retry import Retried
from weak2wise.llm.vllm import VllmModel
from weak2wise.pipeline import Stage
from weak2wise.results import View
from workers import views
from workers.decontaminate import Decontaminate, Overlap
from workers.faithful import FaithfulOnly
from workers.filter import Filter
from workers.generate import Generate
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Golden, Scored, SftRow, Traced, Unsolved
from workers.scoring import exact_weights
from workers.select import Select
from workers.sft import Sft
from workers.stepmask import StepMask
from workers.truncate import Truncate

STEPS: dict[str, tuple[type[Any], View, str]] = {
    "filter": (Unsolved, views.s_prime, "s_prime.jsonl"),
    "generate": (Traced, views.candidates, "candidates.jsonl"),
    "stepmask": (Scored, views.scored_candidates, "scored_candidates.jsonl"),
    "select": (Golden, views.selected_truncated, "selected_truncated.jsonl"),
    "sft": (SftRow, views.finetune, "finetune.jsonl"),
}
"""The method's five steps in order: what each makes of a record, and the file that shows it."""


OPEN_FILES = 65_536


@dataclass(frozen=True)
class Books:
    """Everything durable of one work_dir."""

    intake: Ledger[Any]
    steps: dict[str, Ledger[Any]]
    journal: Journal

    @classmethod
    def of(cls, config: Config) -> "Books":
        """The ledgers and the journal of the config's work_dir, not opened yet."""
        folder = Path(config.dataset.work_dir) / "ledger"
        limits: dict[str, Any] = {
            "max_bytes": config.engine.shard_mb << 20,
            "fsync_seconds": config.engine.fsync_seconds,
        }
        steps = {name: Ledger(name, folder, kind, **limits) for name, (kind, _, _) in STEPS.items()}
        return cls(Ledger("input", folder, object, **limits), steps, Journal(folder, **limits))

    def open(self) -> None:
        """Read what earlier runs left. Blocks. Raises ``ConfigError`` or ``DiskError``."""
        for ledger in (self.intake, *self.steps.values()):
            ledger.open()
        self.journal.open(self.owed)

    def owed(self, row: int) -> bool:
        """Whether a row may still need its answers: the first step that is not done has not dropped it."""
        statuses = (ledger.status(row) for ledger in self.steps.values())
        return next((status for status in statuses if status is not Status.DONE), Status.DROPPED) is not Status.DROPPED

    async def close(self) -> None:
        """Flush and close everything, even if one of them cannot."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.journal.close)
            for ledger in (self.intake, *self.steps.values()):
                stack.push_async_callback(ledger.close)


@asynccontextmanager
async def open_endpoints(config: Config, purse: Purse, gate: Gate) -> AsyncIterator[dict[str, OpenAIModel | VllmModel]]:
    """Open every endpoint that plays a role, one each however many roles it plays; close them all on the way out."""
    _allow_connections()
    async with AsyncExitStack() as stack:
        opened: dict[str, OpenAIModel | VllmModel] = {}
        shared: dict[tuple[str, str], Limits] = {}
        for number, name in enumerate(dict.fromkeys(config.roles().values())):
            endpoint = config.endpoints[name]
            if isinstance(endpoint, OpenAIEndpoint):
                whose = ("group", endpoint.limit_group) if endpoint.limit_group else ("endpoint", name)
                limits = shared.setdefault(whose, limits_of(name, endpoint))
                several = name in config.models.mstrong and len(config.models.mstrong) > 1
                model = OpenAIModel(name, endpoint, limits, purse, gate, one_of_several=several)
                opened[name] = await stack.enter_async_context(model)
            else:
                engine_log = Path(config.dataset.work_dir) / f"vllm-{number}.log"
                weak = opened[name] = VllmModel(name, endpoint, engine_log, gate)
                stack.push_async_callback(weak.close)
                await weak.start()
        yield opened


def _allow_connections() -> None:
    """Let this process open enough files: each request in flight is one, and 1,024 is a usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def wire(
    config: Config, endpoints: dict[str, OpenAIModel | VllmModel], journal: Journal, gate: Gate
) -> dict[str, Model]:
    """Role to model: journal outside, then the gate's guard, error rate, retries, and the endpoint with its limits."""
    lasting: dict[str, Model] = {}
    for name, endpoint in endpoints.items():
        options = config.endpoints[name]
        if isinstance(endpoint, VllmModel):
            lasting[name] = Restarted(endpoint, max_restarts=config.engine.max_engine_restarts)
        else:
            assert isinstance(options, OpenAIEndpoint)
            lasting[name] = Retried(endpoint, max_retries=options.max_retries)
    rates: dict[str, ErrorRate] = {}
    wired: dict[str, Model] = {}
    for role, name in config.roles().items():
        kind = role.partition("/")[0]
        watched = rates.setdefault(kind, ErrorRate(kind, config.engine.max_error_rate)).watch(lasting[name])
        settings = answer_settings(config.endpoints[name])
        endpoint = endpoints[name]
        priced: dict[str, Any] = {"cost": endpoint.cost} if isinstance(endpoint, OpenAIModel) else {}
        wired[role] = Journaled(gate.guard(watched), journal, role=role, endpoint=name, settings=settings, **priced)
    return wired


def read_overlap(config: Config) -> Overlap | None:
    """The evaluation sets to keep out, if there are any. Blocks. Raises ``ConfigError``."""
    dataset = config.dataset
    if not dataset.decontaminate:
        return None
    paths = [Path(name) for name in dataset.decontaminate]
    alike = Counter(path.name for path in paths)
    names = [path.name if alike[path.name] == 1 else str(path) for path in paths]
    return Overlap((name, read_questions(path, dataset.columns)) for name, path in zip(names, paths, strict=True))


def _lanes_for(config: Config, names: Iterable[str], calls: int) -> int:
    """So many records fill the widest of some endpoints, each of which a record asks so often; at least 64."""
    endpoints = [config.endpoints[name] for name in names]
    most = [e.max_concurrent_requests or MOST_IN_FLIGHT for e in endpoints if isinstance(e, OpenAIEndpoint)]
    return max(64, *(math.ceil(each / calls) for each in most), 0)


def build_stages(
    config: Config,
    prompts: Prompts,
    models: dict[str, Model],
    judge: Judge,
    books: Books,
    *,
    bits: Counter[str],
    cuts: Counter[str],
    room: int,
    free: Callable[[], int] | None,
    redact: Callable[[str], str],
    overlap: Overlap | None = None,
) -> list[Stage[Any]]:
    """The five stages, in order. ``bits`` and ``cuts`` count.

    ``room`` is how many calls the weak LLM takes at once, ``free`` how many more an embedded one would take just now.
    With an ``overlap`` the questions of evaluation sets are dropped before the first step.
    """
    params = config.params
    weights = exact_weights(params.n_mask, beta=params.beta, normalization=params.ew_normalization)
    lanes = msgspec.structs.asdict(config.engine.lanes)
    lanes["filter"] = lanes["filter"] or max(32, room)
    lanes["generate"] = lanes["generate"] or _lanes_for(config, config.models.mstrong, params.samples_per_model)
    lanes["stepmask"] = lanes["stepmask"] or max(32, room // params.majority)
    lanes["select"] = lanes["select"] or _lanes_for(config, filter(None, [config.models.truncation]), 1)
    truncate = Truncate(
        model=models.get("truncation"),
        mode=params.truncation,
        prompts=prompts,
        temperature=params.trunc_temp,
        counts=cuts,
    )
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
        free=free,
        bits=bits,
    )
    filter_ = Filter(models["weak"], judge, params.gen_temperature, params.seed, skip=params.skip_filter)
    workers: dict[str, Any] = {
        "filter": filter_ if overlap is None else Decontaminate(overlap, filter_),
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
        "select": Select(truncate, weights, params.seed),
        "sft": Sft(),
    }
    most = config.engine.max_error_rate
    return [
        Stage(name, worker, books.steps[name], lanes=lanes[name], redact=redact, max_error_rate=most)
        for name, worker in workers.items()
    ]
