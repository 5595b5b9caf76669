"""What one run or several share: endpoints, their limits, the cost budget, and the process pool.

A host and a run are values without process-wide state. Runs on one host share its endpoints' limits, cost budget and
loaded models; they never share a log, a redactor or a ledger.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self, TypeVar

from weak2wise.config import Config, check_environment
from weak2wise.errors import ConfigError
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.desk.client import DeskClient
from weak2wise.llm.endpoint import Endpoint, HostParts, endpoint_class
from weak2wise.llm.http.open_files import default_in_flight
from weak2wise.llm.http.proxy import proxy_secrets
from weak2wise.llm.limits.limiter import Limiter
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.model import Model
from weak2wise.process_pool import KillablePool
from weak2wise.telemetry.log import RunLog
from workers.answers import warm_up

OTHER_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "W2W_PAGE_TOKEN")
"""Environment variables with secrets that no endpoint names."""
T = TypeVar("T")


class Host:
    """Opens each endpoint when a run first needs it, and closes them all at the end. Use it with ``async with``.

    Args:
        config: its endpoints, and its ``engine.max_cost_usd``, ``max_engine_restarts`` and ``wait_for_off_peak``, hold
            for all runs together.
        env: where API keys are looked up.
        budget: what the runs may spend, if some is spent already; ``None``: one with the config's cap.
        desk: where it shares limits, budget and error rates with other hosts; ``None``: it has its own.

    Raises:
        ConfigError: an API key is not set, an endpoint cannot work here, or more requests in flight are configured
            than this process may open connections.
    """

    def __init__(
        self,
        config: Config,
        *,
        env: Mapping[str, str] = os.environ,
        budget: CostBudget | None = None,
        desk: DeskClient | None = None,
    ) -> None:
        check_environment(config, env)
        self.config = config
        self.desk = desk
        self.budget = desk.budget if desk else budget or CostBudget(config.engine.max_cost_usd)
        self.pool = KillablePool(warm_up=warm_up)
        self.logs: set[RunLog] = set()
        """The logs of the runs in progress."""
        self._env = env
        self._classes: dict[str, type[Endpoint]] = {}
        for name in dict.fromkeys(config.roles().values()):
            self._classes[name] = endpoint_class(name, config.endpoints[name])
            self._classes[name].check(name, config.endpoints[name])
        self._limits: Mapping[str, Limiter] = (
            by_group(config, self._classes, desk.limits) if desk else limits_of(config, self._classes)
        )
        self._stack = AsyncExitStack()
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._opened: dict[str, Endpoint] = {}
        self._resilient: dict[str, Model] = {}
        self._counted: dict[Path, float] = {}

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self.pool.close)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._opened.clear()
        self._resilient.clear()
        await self._stack.aclose()

    def secrets(self, config: Config) -> list[str]:
        """The values that no log of a run with this config may show: API keys and headers, the host's own included.

        What happens to an endpoint is written to the logs of all runs on the host.
        """
        endpoints = (*self.config.endpoints.values(), *config.endpoints.values())
        others = [value for name in OTHER_SECRETS if (value := self._env.get(name))]
        others += [*proxy_secrets(self._env), *config.notify.secrets(self._env)]
        return [*(value for endpoint in endpoints for value in endpoint.secret_values(self._env)), *others]

    def check(self, config: Config) -> None:
        """Check that a run with this config fits this host. Raises ``ConfigError``, naming the key."""
        if config is self.config:
            return
        for name in dict.fromkeys(config.roles().values()):
            if name not in self._classes:
                raise ConfigError(f"model_endpoints.{name}: not among the endpoints in use of the host's config")
            if config.endpoints[name] != self.config.endpoints[name]:
                raise ConfigError(f"model_endpoints.{name}: differs from the host's config; runs on a host share it")
        for key in ("max_cost_usd", "max_engine_restarts", "wait_for_off_peak"):
            if getattr(config.engine, key) != getattr(self.config.engine, key):
                raise ConfigError(f"engine.{key}: differs from the host's config; it holds for all runs on a host")

    def check_logprobs(self, name: str) -> None:
        """Check that an endpoint in use can say how likely a given text is. Raises ``ConfigError``."""
        self._classes[name].check_logprobs(name, self.config.endpoints[name])

    async def open(self, name: str, log_file: Path) -> tuple[Endpoint, Model]:
        """An endpoint, opened by the first run that needs it, and its model that survives faults.

        Args:
            name: what the config calls it.
            log_file: the file for an embedded engine's output, if this call opens the endpoint.

        Raises:
            ConfigError, RunStopped: it cannot be opened.
        """
        async with self._opening[name]:
            if name not in self._opened:
                parts = HostParts(
                    self._limits.get(name), self.budget, log_file, self.config.engine.wait_for_off_peak, self._env
                )
                endpoint = self._classes[name](name, self.config.endpoints[name], parts)
                self._stack.push_async_callback(endpoint.close)
                await endpoint.open()
                self._opened[name] = endpoint
                self._resilient[name] = endpoint.resilient(self.config.engine)
        return self._opened[name], self._resilient[name]

    def count_spent(self, work_dir: Path, usd: float) -> None:
        """Count the cost of all runs of a work_dir so far, except what was counted before.

        ``work_dir`` is resolved, so that the same folder has one name. At a desk it was counted before any host came.
        """
        if self.desk:
            return
        self.budget.pay(usd - self._counted.get(work_dir, 0.0))
        self._counted[work_dir] = usd

    def note_spent(self, work_dir: Path, usd: float) -> None:
        """Record the cost of a work_dir's runs when one ends: its own calls were counted as they were made."""
        self._counted[work_dir] = usd


def limits_of(
    config: Config, classes: Mapping[str, type[Endpoint]], most_in_flight: int | None = None
) -> dict[str, Limits]:
    """The limits of each endpoint in use that is not embedded; endpoints of one group share them.

    ``most_in_flight``: where none is configured; ``None``: as many as this process may open connections.
    """

    def made(name: str) -> Limits:
        found = config.endpoints[name].limits
        return Limits.of(found.limit_group or name, found, most)

    configured = by_group(config, classes, lambda name: config.endpoints[name].limits.max_concurrent_requests)
    groups = {_group(config, name): most for name, most in configured.items()}
    most = most_in_flight or default_in_flight([*groups.values()])
    return by_group(config, classes, made)


def by_group(config: Config, classes: Mapping[str, type[Endpoint]], made: Callable[[str], T]) -> dict[str, T]:
    """Something for each endpoint in use that is not embedded; it is made of the last one of a group, and shared."""
    remote = [name for name in classes if not classes[name].embedded]
    last = {_group(config, name): name for name in remote}
    shared = {group: made(name) for group, name in last.items()}
    return {name: shared[_group(config, name)] for name in remote}


def _group(config: Config, name: str) -> tuple[bool, str]:
    group = config.endpoints[name].limits.limit_group
    return group is not None, group or name
