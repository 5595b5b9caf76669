"""Wraps each role's endpoint in the run's own parts: journal, batches, drain, error rate."""

from collections.abc import Mapping
from functools import partial

from weak2wise.config import Config
from weak2wise.llm.batch.batched import Batched
from weak2wise.llm.batch.batches import Batches
from weak2wise.llm.drain import Drain, DrainedBeforeStop
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.error_rate import ErrorRate, SharedWindows
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journal, Journaled
from weak2wise.llm.model import Model


def wrap_models(
    config: Config,
    opened: Mapping[str, tuple[Endpoint, Model]],
    journal: Journal,
    drain: Drain,
    batches: Batches,
    *,
    windows: SharedWindows | None = None,
) -> tuple[dict[str, Model], list[ErrorRate]]:
    """Role to model, from the outside: journal, batches, drain, error rate, endpoint with retries or restarts.

    Also the error rates. Only an endpoint whose calls are sent in batches has that part.

    Args:
        config: the run's.
        opened: each endpoint in use, and its model that survives faults (``Host.open``).
        journal: the run's.
        drain: the run's.
        batches: the run's.
        windows: where several hosts share the error rates of the kinds of role that are paid for.
    """
    paid = {role.partition("/")[0] for role, name in config.roles().items() if not opened[name][0].embedded}
    rates: dict[str, ErrorRate] = {}
    models: dict[str, Model] = {}
    for role, name in config.roles().items():
        kind = role.partition("/")[0]
        endpoint, resilient = opened[name]
        if kind not in rates:
            rates[kind] = ErrorRate(kind, config.engine.max_error_rate, windows if kind in paid else None)
        watched = rates[kind].watch(resilient, role)
        asked: Model = DrainedBeforeStop(watched, drain)
        if isinstance(endpoint, OpenAIModel) and (batcher := batches.batcher(endpoint)):
            asked = Batched(batcher, asked)
        models[role] = Journaled(
            asked,
            journal,
            role=role,
            endpoint=name,
            settings=config.endpoints[name].answer_settings(),
            cost=endpoint.cost,
            redact=endpoint.redact_answer,
            one_of_several=name in config.models.mstrong and len(config.models.mstrong) > 1,
            check_logprobs=partial(endpoint.check_logprobs, name, config.endpoints[name]),
        )
    return models, list(rates.values())
