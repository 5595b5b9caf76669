"""Hosts that share a desk: limits, budget and error rates hold for all together. Virtual time, a strict provider."""

import asyncio
import random
import time

import pytest

from tests.llm.clock import in_virtual_time
from tests.llm.desk.provider import Host, Provider, hosts_at
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.desk import client
from weak2wise.llm.desk.desk import Desk
from weak2wise.llm.desk.messages import Reply, Report
from weak2wise.llm.error_rate import Calls, ErrorRate
from weak2wise.llm.limits.limits import Limits


def desk_of(limits: Limits, max_usd: float | None = None) -> Desk:
    return Desk({"end": limits}, CostBudget(max_usd), {})


def test_no_more_is_in_flight_than_the_limit_however_many_hosts_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider, rng = Provider(in_flight=24), random.Random(1)
        async with hosts_at(desk_of(Limits(in_flight=24)), 3) as hosts:
            began = time.monotonic()
            await asyncio.gather(*(host.call(provider, rng.uniform(0.5, 2)) for host in hosts for _ in range(200)))
            seconds = time.monotonic() - began
        assert (provider.accepted, provider.refused, provider.most_in_flight) == (600, 0, 24)
        assert seconds < 1.1 * 600 * 1.25 / 24, "its places are used"

    in_virtual_time(main(), monkeypatch)


def test_hosts_with_a_desk_each_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above rules out does happen otherwise."""

    async def main() -> None:
        provider = Provider(in_flight=24)
        async with (
            hosts_at(desk_of(Limits(in_flight=24)), 1) as first,
            hosts_at(desk_of(Limits(in_flight=24)), 1) as second,
        ):
            await asyncio.gather(*(host.call(provider, 1.0) for host in first + second for _ in range(50)))
        assert provider.refused >= 24

    in_virtual_time(main(), monkeypatch)


@pytest.mark.slow
def test_no_more_is_sent_in_a_minute_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider = Provider(per_minute=600)
        async with hosts_at(desk_of(Limits(requests_per_minute=600)), 4) as hosts:
            await asyncio.gather(*(host.call(provider, 1.0) for host in hosts for _ in range(500)))
        assert (provider.accepted, provider.refused) == (2000, 0)
        assert 550 <= provider.most_in_a_minute <= 600

    in_virtual_time(main(), monkeypatch)


@pytest.mark.slow
def test_tokens_of_all_hosts_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred tokens a call: 60,000 a minute are 600 calls."""

    async def main() -> None:
        provider = Provider()
        async with hosts_at(desk_of(Limits(in_flight=1000, tokens_per_minute=60_000)), 3) as hosts:
            await asyncio.gather(*(host.call(provider, 1.0) for host in hosts for _ in range(500)))
        assert 400 <= provider.most_in_a_minute <= 600

    in_virtual_time(main(), monkeypatch)


def test_hosts_are_served_in_turn_however_many_requests_one_of_them_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider = Provider()
        async with hosts_at(desk_of(Limits(in_flight=8)), 2) as (busy, other):
            many = [asyncio.create_task(busy.call(provider, 1.0)) for _ in range(2000)]
            await asyncio.sleep(5)
            began = time.monotonic()
            await asyncio.gather(*(other.call(provider, 1.0) for _ in range(8)))
            assert time.monotonic() - began < 1.2 * client.MOST_WAITING / 8 + 3
            for task in many:
                task.cancel()

    in_virtual_time(main(), monkeypatch)


def test_a_refusal_of_one_host_holds_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider = Provider(in_flight=1)
        async with hosts_at(desk_of(Limits(in_flight=2)), 2) as (first, second):
            began = time.monotonic()
            refused = [asyncio.create_task(first.call(provider, 1.0, 30.0)) for _ in range(2)]
            await asyncio.sleep(5)
            assert (provider.accepted, provider.refused) == (1, 1)
            await second.call(provider, 1.0)
            assert 31 <= time.monotonic() - began < 33
            await asyncio.gather(*refused)

    in_virtual_time(main(), monkeypatch)


def test_an_endpoint_that_pauses_for_long_is_known_to_hosts_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider = Provider(in_flight=1)
        async with hosts_at(desk_of(Limits(in_flight=2)), 2) as (first, second):
            calls = [asyncio.create_task(host.call(provider, 2.0, 300.0)) for host in (first, second, second)]
            await asyncio.sleep(3)
            assert 290 < second.limits.pause_left < 300
            assert second.limits.in_flight == 0
            for call in calls:
                call.cancel()

    in_virtual_time(main(), monkeypatch)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_given_up_no_slot_and_no_money_is_lost(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Calls that are cancelled or not wanted any more at random moments, in line, in between and in flight."""

    async def main() -> None:
        provider, rng = Provider(in_flight=5), random.Random(seed)
        limits = Limits(in_flight=5)
        desk = desk_of(limits, 100.0)
        async with hosts_at(desk, 3, max_usd=100.0, most_usd=0.5) as hosts:

            async def call(host: Host) -> None:
                await asyncio.sleep(rng.uniform(0, 5))
                task = asyncio.create_task(host.call(provider, rng.uniform(0.01, 0.5)))
                await asyncio.wait([task], timeout=rng.choice([0.03, 0.07, 0.5, 1000]))
                task.cancel()

            async def flip(host: Host) -> None:
                for _ in range(20):
                    await asyncio.sleep(rng.uniform(0.05, 0.5))
                    host.wanted = not host.wanted
                    host.limits.release_unwanted()

            await asyncio.gather(*(call(host) for host in hosts for _ in range(60)), *map(flip, hosts))
            await asyncio.sleep(5)
            assert (limits.in_flight, [host.limits.in_flight for host in hosts]) == (0, [0, 0, 0])
            assert (desk.budget._reserved, desk.budget._holding) == (0, 0)
            assert desk.budget.spent == pytest.approx(0.25 * sum(host.answered for host in hosts))
            await asyncio.gather(*(host.client.visit() for host in hosts))
            assert {host.client.budget.spent for host in hosts} == {desk.budget.spent}
            assert provider.accepted > 20

    in_virtual_time(main(), monkeypatch)


def test_the_cap_holds_for_all_hosts_together_and_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call may cost 1 and costs a half: once 9.5 are spent, the next one does not fit."""

    async def main() -> None:
        provider = Provider(usd=0.5)
        desk = desk_of(Limits(in_flight=50), 10.0)
        async with hosts_at(desk, 3, max_usd=10.0, most_usd=1.0) as hosts:
            calls = [asyncio.create_task(host.call(provider, 1.0)) for host in hosts for _ in range(40)]
            await asyncio.gather(*(host.client.budget.exhausted.wait() for host in hosts))
            assert (provider.charged, desk.budget.spent) == (9.5, 9.5)
            assert "of 10 US dollars too little is left" in str(hosts[0].client.budget.stop())
            assert "raise engine.max_cost_usd to more than 10.5" in hosts[2].client.budget.stop().hint
            for call in calls:
                call.cancel()

    in_virtual_time(main(), monkeypatch)


def test_an_empty_budget_grants_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        provider, desk = Provider(), desk_of(Limits(in_flight=50), 10.0)
        desk.budget.pay(10.0)
        async with hosts_at(desk, 2, max_usd=10.0, most_usd=0.01) as hosts:
            calls = [asyncio.create_task(host.call(provider, 1.0)) for host in hosts for _ in range(10)]
            await asyncio.sleep(60)
            assert provider.accepted == 0
            assert all(host.client.budget.exhausted.is_set() for host in hosts)
            for call in calls:
                call.cancel()

    in_virtual_time(main(), monkeypatch)


def test_a_host_that_was_frozen_gives_back_what_it_was_granted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would send it in a minute in which it does not count."""

    async def main() -> None:
        provider, limits = Provider(), Limits(in_flight=5)
        desk = desk_of(limits)
        frozen = 0.0

        async def visit(report: Report) -> Reply:
            reply = await desk.visit(report)
            await asyncio.sleep(frozen)
            return reply

        host = Host(desk, "host")
        host.client._visit = visit
        running = asyncio.create_task(host.client.run())
        frozen = 30.0
        call = asyncio.create_task(host.call(provider, 1.0))
        await asyncio.sleep(29)
        assert limits.in_flight == 1
        frozen = 0.0
        await asyncio.sleep(1.5)
        assert (provider.accepted, limits._sent) == (1, 2), "and asks again"
        await call
        running.cancel()

    in_virtual_time(main(), monkeypatch)


def test_failures_on_all_hosts_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty on each of four hosts are enough, where each alone would go on up to a hundred."""

    async def main() -> None:
        rate, dead = ErrorRate("judge", 0.5), Calls("judge")
        rate.count(dead)
        desk = Desk({"end": Limits()}, CostBudget(), {"judge": (rate, dead)})
        async with hosts_at(desk, 4) as hosts:
            for number in range(99):
                hosts[number % 4].client.note("judge", "timeout", "too late")
            await asyncio.sleep(1)
            assert hosts[0].client.stopped("judge") is None
            hosts[3].client.note("judge", "timeout", "too late")
            await asyncio.sleep(1)
            hosts[0].client.note("weak", None, "")  # of a role that nobody pays for
            await asyncio.sleep(1)
            stop = hosts[0].client.stopped("judge")
            assert "100 of the last 100 calls for the role 'judge' failed" in str(stop)
            assert hosts[0].client.stopped("strong") is None

    in_virtual_time(main(), monkeypatch)
