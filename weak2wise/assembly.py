"""Builds one run from its config: endpoints behind their wrappers, the five workers, their ledgers.

An ``Assembly`` is a value: several may live in one process, each with its own work_dir.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.config.shape import answer_settings
from weak2wise.ledger.journal import Journal, Journaled
from weak2wise.ledger.outcomes import Ledger
from weak2wise.llm.limits import Limits
from weak2wise.llm.model import Model
from weak2wise.llm.openai import OpenAIModel, limits_of
from weak2wise.llm.retry import Retried
from weak2wise.llm.vllm import VllmModel
from weak2wise.pipeline import Gate, Stage
from weak2wise.results import View
from workers import views
from workers.filter import Filter
from workers.generate import Generate
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Golden, Scored, SftRow, Traced, Unsolved
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
        """Whether a row may still need its answers: it was neither dropped nor taken through the last step."""
        statuses = [ledger.status(row).name for ledger in self.steps.values()]
        return "DROPPED" not in statuses and statuses[-1] != "DONE"

    async def close(self) -> None:
        """Flush and close everything, even if one of them cannot."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.journal.close)
            for ledger in (self.intake, *self.steps.values()):
                stack.push_async_callback(ledger.close)


@asynccontextmanager
async def open_endpoints(config: Config) -> AsyncIterator[dict[str, OpenAIModel | VllmModel]]:
    """Open every endpoint that plays a role, one each however many roles it plays; close them all on the way out."""
    async with AsyncExitStack() as stack:
        opened: dict[str, OpenAIModel | VllmModel] = {}
        shared: dict[tuple[str, str], Limits] = {}
        for number, name in enumerate(dict.fromkeys(config.roles().values())):
            endpoint = config.endpoints[name]
            if isinstance(endpoint, OpenAIEndpoint):
                whose = ("group", endpoint.limit_group) if endpoint.limit_group else ("endpoint", name)
                limits = shared.setdefault(whose, limits_of(endpoint))
                opened[name] = await stack.enter_async_context(OpenAIModel(name, endpoint, limits))
            else:
                model = opened[name] = VllmModel(name, endpoint, Path(config.dataset.work_dir) / f"vllm-{number}.log")
                stack.push_async_callback(model.close)
                await model.start()
        yield opened


def wire(
    config: Config, endpoints: dict[str, OpenAIModel | VllmModel], journal: Journal, gate: Gate
) -> dict[str, Model]:
    """Role to model: journal outside, then the gate, then retries, then the endpoint with its limits."""
    guarded: dict[str, Model] = {}
    for name, endpoint in endpoints.items():
        settings = config.endpoints[name]
        retried = (
            Retried(endpoint, max_retries=settings.max_retries) if isinstance(settings, OpenAIEndpoint) else endpoint
        )
        guarded[name] = gate.guard(retried)
    return {
        role: Journaled(
            guarded[name], journal, role=role, endpoint=name, settings=answer_settings(config.endpoints[name])
        )
        for role, name in config.roles().items()
    }


def build_stages(
    config: Config, prompts: Prompts, models: dict[str, Model], judge: Judge, books: Books
) -> list[Stage[Any]]:
    """The five stages, in order."""
    params = config.params
    truncate = Truncate(
        model=models.get("truncation"),
        mode=params.truncation,
        prompts=prompts,
        temperature=params.trunc_temp,
    )
    workers: dict[str, Any] = {
        "filter": Filter(models["weak"], judge, params.gen_temperature, params.seed, skip=params.skip_filter),
        "generate": Generate(
            {name: models[f"strong/{name}"] for name in config.models.mstrong},
            params.samples_per_model,
            params.gen_temperature,
            prompts,
            params.seed,
        ),
        "stepmask": StepMask(
            models["weak"],
            judge,
            prompts,
            n=params.n_mask,
            votes=params.majority,
            beta=params.beta,
            normalization=params.ew_normalization,
            seed=params.seed,
        ),
        "select": Select(truncate, params.seed),
        "sft": Sft(),
    }
    return [
        Stage(name, worker, books.steps[name], lanes=getattr(config.engine.lanes, name))
        for name, worker in workers.items()
    ]
