"""Each role's model on an opened host, and what a run wraps around it: journal, batches, drain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from weak2wise.config import Config
from weak2wise.ledger.manifest import Begun
from weak2wise.llm.batch.batched import Batched
from weak2wise.llm.batch.batches import Batches
from weak2wise.llm.drain import Drain, DrainedBeforeStop
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.error_rate import ErrorRate
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journal, Journaled
from weak2wise.llm.model import Model
from weak2wise.run.begun import answer_settings
from weak2wise.run.host import Host


@dataclass(frozen=True)
class Roles:
    """The endpoints of a config, opened, and each role's model with retries or restarts and its error rate."""

    endpoints: Mapping[str, Endpoint]
    """By the config's name."""
    watched: Mapping[str, Model]
    """By role."""
    rates: Sequence[ErrorRate]
    """The failures of each kind of role."""

    @classmethod
    async def on(cls, host: Host, config: Config, folder: Path) -> Self:
        """Open those that no run on the host has opened yet; ``folder`` is for the log of an embedded engine.

        Raises:
            ConfigError, RunStopped: one cannot be opened.
        """
        names = dict.fromkeys(config.roles().values())
        opened = {name: await host.open(name, folder / f"vllm-{number}.log") for number, name in enumerate(names)}
        paid = {role.partition("/")[0] for role, name in config.roles().items() if not opened[name][0].embedded}
        rates: dict[str, ErrorRate] = {}
        watched: dict[str, Model] = {}
        for role, name in config.roles().items():
            kind = role.partition("/")[0]
            if kind not in rates:
                rates[kind] = ErrorRate(kind, config.engine.max_error_rate, host.desk if kind in paid else None)
            watched[role] = rates[kind].watch(opened[name][1], role)
        return cls({name: endpoint for name, (endpoint, _) in opened.items()}, watched, list(rates.values()))


def wrap_models(
    config: Config, roles: Roles, journal: Journal, drain: Drain, batches: Batches, *, begun: Begun
) -> dict[str, Model]:
    """Role to model, from the outside: journal, batches, drain, then what ``roles`` has.

    Only an endpoint whose calls are sent in batches has that part.

    Args:
        config: the run's.
        roles: of its host.
        journal: the run's.
        drain: the run's.
        batches: the run's.
        begun: what the run keeps of its first start.
    """
    models: dict[str, Model] = {}
    for role, name in config.roles().items():
        endpoint = roles.endpoints[name]
        asked: Model = DrainedBeforeStop(roles.watched[role], drain)
        if isinstance(endpoint, OpenAIModel) and (batcher := batches.batcher(endpoint)):
            asked = Batched(batcher, asked)
        models[role] = Journaled(
            asked,
            journal,
            role=role,
            endpoint=name,
            settings=answer_settings(config, name, begun),
            cost=endpoint.cost,
            redact=endpoint.redact_answer,
            one_of_several=name in config.models.mstrong and len(config.models.mstrong) > 1,
            check_logprobs=partial(endpoint.check_logprobs, name, config.endpoints[name]),
        )
    return models
