"""A host that is gone: its slots come back after a quarantine, its money counts as spent, and it gets nothing more."""

import asyncio

import pytest

from tests.llm.clock import in_virtual_time
from tests.llm.desk.provider import Host, Provider
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.desk import desk as desk_module
from weak2wise.llm.desk.desk import Desk
from weak2wise.llm.limits.limits import Limits


class Cluster:
    """Hosts of one desk, each with its calls, that can be killed: their requests go on at the provider."""

    def __init__(self, limits: Limits, max_usd: float | None = None, most_usd: float = 0.0) -> None:
        self.desk = Desk({"end": limits}, CostBudget(max_usd), {})
        self._options = {"max_usd": max_usd, "most_usd": most_usd}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def start(self, name: str, provider: Provider, calls: int, seconds: float) -> Host:
        host = Host(self.desk, name, **self._options)  # type: ignore[arg-type]
        self._tasks[name] = [
            asyncio.create_task(host.client.run()),
            *(asyncio.create_task(host.call(provider, seconds)) for _ in range(calls)),
        ]
        return host

    async def kill(self, name: str) -> None:
        """It says nothing more."""
        for task in self._tasks[name]:
            task.cancel()
        await asyncio.gather(*self._tasks.pop(name), return_exceptions=True)

    async def end(self) -> None:
        for name in [*self._tasks]:
            await self.kill(name)


@pytest.mark.slow
@pytest.mark.parametrize(("quarantine", "refused"), [(True, False), (False, True)])
def test_slots_come_back_only_when_the_provider_has_surely_forgotten_the_requests(
    monkeypatch: pytest.MonkeyPatch, *, quarantine: bool, refused: bool
) -> None:
    """Without a quarantine the next requests are refused, so it is needed."""

    async def main() -> None:
        if not quarantine:
            monkeypatch.setattr(desk_module, "LONGEST_QUARANTINE", 0.0)
        provider = Provider(in_flight=24)
        cluster = Cluster(Limits(in_flight=24))
        cluster.start("a", provider, 100, 20.0)
        cluster.start("b", provider, 100, 20.0)
        await asyncio.sleep(50)  # the first are answered, so it is known how long they take
        await cluster.kill("a")
        cluster.desk.give_up("a")
        cluster.start("c", provider, 100, 20.0)
        await asyncio.sleep(100)
        assert (provider.refused > 0) is refused
        assert provider.most_in_flight == 24
        if quarantine:
            assert provider.accepted >= 24 * 6, "they did come back"
        await cluster.end()

    in_virtual_time(main(), monkeypatch)


def test_what_its_requests_may_have_cost_counts_as_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider = Provider(usd=1.0)
        cluster = Cluster(Limits(in_flight=4), max_usd=20.0, most_usd=1.0)
        cluster.start("a", provider, 100, 10.0)
        await asyncio.sleep(5)
        await cluster.kill("a")
        cluster.desk.give_up("a")
        assert cluster.desk.budget.spent == 4.0
        await asyncio.sleep(100)
        assert cluster.desk.budget.spent >= provider.charged == 4.0
        assert cluster.desk.budget._holding == 0

    in_virtual_time(main(), monkeypatch)


def test_a_host_that_was_given_up_but_lives_gets_nothing_more_and_learns_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider = Provider()
        cluster = Cluster(Limits(in_flight=4))
        orphan = cluster.start("a", provider, 100, 1.0)
        await asyncio.sleep(3)
        cluster.desk.give_up("a")
        before = provider.accepted
        await asyncio.sleep(30)
        assert provider.accepted == before
        assert orphan.client.lost.is_set()
        await cluster.end()

    in_virtual_time(main(), monkeypatch)
