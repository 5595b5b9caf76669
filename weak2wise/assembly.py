"""Builds from its config what one run works with: endpoints behind their wrappers, and the books of its work_dir.

The five workers are lined up on these in ``weak2wise.lineup``. All of it is values: several runs may live in one
process, each with its own work_dir.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weak2wise.config import Config, OpenAIEndpoint
from weak2wise.config.shape import answer_settings
from weak2wise.dataset import asked_by, at_hand, read_questions
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Ledger, Status
from weak2wise.llm.connections import allow
from weak2wise.llm.error_rate import ErrorRate
from weak2wise.llm.gate import Gate
from weak2wise.llm.journal import Journal, Journaled
from weak2wise.llm.limits import Limits
from weak2wise.llm.model import Model
from weak2wise.llm.openai import OpenAIModel, limits_of
from weak2wise.llm.purse import Purse
from weak2wise.llm.restart import Restarted
from weak2wise.llm.retry import Retried
from weak2wise.llm.vllm import VllmModel
from workers.decontaminate import Overlap
from workers.method import METHOD, last_asking


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
        steps = {step.name: Ledger(step.name, folder, step.makes, **limits) for step in METHOD}
        return cls(Ledger("input", folder, object, **limits), steps, Journal(folder, **limits))

    def open(self) -> None:
        """Read what earlier runs left. Blocks. Raises ``ConfigError`` or ``DiskError``."""
        for ledger in (self.intake, *self.steps.values()):
            ledger.open()
        self.journal.open(self.owed)

    def owed(self, row: int, role: str) -> bool:
        """Whether a row may still ask for a role's answers: it is not through, nor past the last step that asks."""
        last = last_asking(role).name
        for step, ledger in self.steps.items():
            if (status := ledger.status(row)) is not Status.DONE:
                return status is not Status.DROPPED
            if step == last:
                return False
        return False

    async def close(self) -> None:
        """Flush and close everything, even if one of them cannot."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.journal.close)
            for ledger in (self.intake, *self.steps.values()):
                stack.push_async_callback(ledger.close)


@asynccontextmanager
async def open_endpoints(config: Config, purse: Purse, gate: Gate) -> AsyncIterator[dict[str, OpenAIModel | VllmModel]]:
    """Open every endpoint that plays a role, one each however many roles it plays; close them all on the way out.

    Raises:
        ConfigError: more requests in flight are configured than this process may have connections.
    """
    limits = _limits(config)
    async with AsyncExitStack() as stack:
        opened: dict[str, OpenAIModel | VllmModel] = {}
        for number, name in enumerate(dict.fromkeys(config.roles().values())):
            endpoint = config.endpoints[name]
            if isinstance(endpoint, OpenAIEndpoint):
                several = name in config.models.mstrong and len(config.models.mstrong) > 1
                model = OpenAIModel(name, endpoint, limits[name], purse, gate, one_of_several=several)
                opened[name] = await stack.enter_async_context(model)
            else:
                engine_log = Path(config.dataset.work_dir) / f"vllm-{number}.log"
                weak = opened[name] = VllmModel(name, endpoint, engine_log, gate)
                stack.push_async_callback(weak.close)
                await weak.start()
        yield opened


def _limits(config: Config) -> dict[str, Limits]:
    """The limits of each endpoint over HTTP that plays a role; those of one group share theirs."""
    found = {name: config.endpoints[name] for name in config.roles().values()}
    over_http = {name: end for name, end in found.items() if isinstance(end, OpenAIEndpoint)}
    whose = {name: (end.limit_group is not None, end.limit_group or name) for name, end in over_http.items()}
    one_each = {whose[name]: end for name, end in over_http.items()}
    most = allow([end.max_concurrent_requests for end in one_each.values()])
    shared = {who: limits_of(who[1], end, most) for who, end in one_each.items()}
    return {name: shared[who] for name, who in whose.items()}


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


def read_overlap(config: Config, find: Callable[[Path, Path], Path] = at_hand) -> Overlap | None:
    """The evaluation sets to keep out, if there are any. Blocks. Raises ``ConfigError``.

    ``find`` says where a set is read from; a run, which may write, gives ``keep``.
    """
    dataset = config.dataset
    if not dataset.decontaminate:
        return None
    paths = [Path(name) for name in dataset.decontaminate]
    alike = Counter(path.name for path in paths)
    names = [path.name if alike[path.name] == 1 else str(path) for path in paths]

    def questions(path: Path) -> Iterator[str]:
        with asked_by("dataset.decontaminate"):
            file = find(path, Path(dataset.work_dir))
        try:
            yield from read_questions(file, dataset.columns)
        except ConfigError as error:
            raise (error if file == path else ConfigError(f"{path}: {error}")) from None

    return Overlap((name, questions(path)) for name, path in zip(names, paths, strict=True))
