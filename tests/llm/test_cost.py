"""What answers cost is counted as the provider reports it, kept over restarts, and capped."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine_runs import config_for, finish, lines, write_run
from tests.loopback import Fault, LoopbackProcess, Match, serve
from tests.loopback.faults import Kind
from weak2wise.config import OpenAIEndpoint, Prices, load_config
from weak2wise.errors import ConfigError
from weak2wise.llm.call import Call, calling
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.errors import ModelError, Transient
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Message, Prompt, Usage

PRICES = {"input": 1.0, "cached_input": 0.5, "output": 10.0}


def priced(folder: Path, base_url: str) -> dict[str, Any]:
    """Two requests in flight for each of five endpoints; no answer is longer than their ``max_tokens``."""
    config = config_for(folder, base_url, n_mask=2)
    for endpoint in config["model_endpoints"].values():
        endpoint |= {"prices": PRICES, "max_concurrent_requests": 2, "max_retries": 2, "max_tokens": 1000}
    return config


def costs_in(folder: Path) -> list[float]:
    return [line["cost_usd"] for file in (folder / "work" / "ledger" / "journal").iterdir() for line in lines(file)]


MOST = (1000 * PRICES["output"] + 4000 * PRICES["input"]) / 1e6
"""US dollars that one call may cost at most."""


def received(server: LoopbackProcess) -> int:
    return sum(model.received for model in server.stats().models.values())


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "work" / "summary.json").read_text())
    return found


def test_a_call_costs_its_tokens_and_cached_ones_their_own_price() -> None:
    assert Prices(input=1.0, cached_input=0.1, output=10.0).cost(1_000_000, 400_000, 200_000) == pytest.approx(2.64)
    assert Prices(input=1.0, output=10.0).cost(1_000_000, 400_000, 200_000) == pytest.approx(3.0)
    assert Prices().cost(1_000_000, 400_000, 200_000) == 0


@pytest.mark.slow
def test_the_summary_and_the_journal_carry_the_cost_and_what_was_wasted(tmp_path: Path) -> None:
    """An answer that its provider could not finish may be charged like any other."""
    with LoopbackProcess(faults=(Fault("broken_off", Match(model="strong-a")),)) as server:
        write_run(tmp_path, priced(tmp_path, server.base_url), 3)
        said = finish(tmp_path)
    found = summary(tmp_path)
    wasted = sum(role["wasted_usd"] for role in found["roles"])
    assert wasted > 0
    assert f"{wasted:,.4f} of them for answers that could not be used" in said
    for role in found["roles"]:
        prices = msgspec.convert(PRICES, Prices)
        expected = prices.cost(role["prompt_tokens"], role["cached_tokens"], role["completion_tokens"])
        assert role["cost_usd"] == pytest.approx(expected)
        assert expected > 0
    journal = [line for file in (tmp_path / "work" / "ledger" / "journal").iterdir() for line in lines(file)]
    assert sum(line["cost_usd"] for line in journal) == pytest.approx(sum(role["cost_usd"] for role in found["roles"]))
    assert len(journal) == sum(role["calls"] for role in found["roles"]) + 1


@pytest.mark.slow
def test_money_spent_on_unusable_answers_is_spent_for_every_later_start(tmp_path: Path) -> None:
    """Nothing but broken answers from the strong models: all starts together pay no more than the cap."""
    with LoopbackProcess(faults=(Fault("broken_off", Match(model="strong"), times=None),)) as server:
        config = priced(tmp_path, server.base_url)
        config["params"]["skip_filter"] = True
        write_run(tmp_path, config, 6)
        finish(tmp_path, "--set", "engine.max_cost_usd=0.05", code=3)
        asked = received(server)
        said = finish(tmp_path, "--set", "engine.max_cost_usd=0.05", code=3)
        assert "raise engine.max_cost_usd" in said
        assert received(server) == asked
    journal = [line for file in (tmp_path / "work" / "ledger" / "journal").iterdir() for line in lines(file)]
    assert {line["key"] for line in journal} == {""}
    costs = [line["cost_usd"] for line in journal]
    assert 0.03 < sum(costs) <= 0.05
    assert len(costs) == asked


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["broken_sse", "hang_in_body"])
async def test_what_arrived_of_a_stream_that_broke_off_is_paid_for_by_estimate(fault: Kind) -> None:
    """Its provider had no chance to say what it took. One that was not answered in time may have used all it could."""
    wasted: list[Usage] = []

    async def note(usage: Usage) -> None:
        wasted.append(usage)

    prompt = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)
    async with serve(faults=(Fault(fault), Fault("hang_before_headers", Match(nth=2)))) as server:
        settings = OpenAIEndpoint(
            base_url=server.base_url,
            model_id="strong-a",
            stream=True,
            idle_timeout=0.3,
            max_tokens=4000,
            prices=Prices(output=1e6),
        )
        budget = CostBudget()
        async with OpenAIModel("a", settings, HostParts(budget=budget)) as model:
            with calling(Call(charge=note)):
                for _ in range(2):
                    with pytest.raises(Transient):
                        await model.complete(prompt)
            usage, unheard = wasted
            assert usage.estimated
            assert unheard.estimated
            whole = await model.complete(prompt)
    assert 0 < usage.completion_tokens < whole.usage.completion_tokens
    assert unheard.completion_tokens == 4000
    assert budget.spent == usage.completion_tokens + 4000 + whole.usage.completion_tokens


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        ("hang_before_headers", (8, 4000)),
        ("hang_in_body", (8, None)),
        ("reset_in_body", (8, None)),
        ("wrong_length", (8, None)),
        ("truncated_json", (8, None)),
        ("invalid_utf8", (8, None)),
        ("reset_before_headers", (8, 0)),
        ("503", None),
        ("429", None),
        ("error_object", None),
    ],
)
async def test_a_call_that_was_sent_and_not_answered_counts_by_estimate(
    fault: Kind, charged: tuple[int, int | None] | None
) -> None:
    """``None`` for the completion: as many tokens as its part that arrived; a refusal costs nothing."""
    wasted: list[Usage] = []

    async def note(usage: Usage) -> None:
        wasted.append(usage)

    prompt = Prompt(messages=(Message("user", "What is 2 + 2, and why is it?..."),), temperature=0.6, seed=5)
    async with serve(faults=(Fault(fault, retry_after=0.0),)) as server:
        settings = OpenAIEndpoint(
            base_url=server.base_url,
            model_id="strong-a",
            request_timeout=0.5,
            max_tokens=4000,
            prices=Prices(input=1e6, output=1e6),
        )
        budget = CostBudget()
        async with OpenAIModel("a", settings, HostParts(budget=budget)) as model:
            with calling(Call(charge=note)), pytest.raises(ModelError):
                await model.complete(prompt)
    assert budget.spent == sum(usage.tokens for usage in wasted)
    if charged is None:
        assert wasted == []
    else:
        (usage,) = wasted
        assert (usage.prompt_tokens, usage.estimated) == (charged[0], True)
        assert usage.completion_tokens == charged[1] or (charged[1] is None and 0 < usage.completion_tokens < 4000)


async def test_nothing_is_counted_of_a_call_that_could_not_be_sent() -> None:
    budget = CostBudget()
    settings = OpenAIEndpoint(base_url="http://127.0.0.1:9/v1", model_id="m", prices=Prices(input=1e6, output=1e6))
    prompt = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)
    async with OpenAIModel("a", settings, HostParts(budget=budget)) as model:
        with pytest.raises(ModelError):
            await model.complete(prompt)
    assert budget.spent == 0


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_an_endpoint_that_counts_no_tokens_is_capped_by_estimate_and_named(tmp_path: Path, stream: bool) -> None:
    with LoopbackProcess(latency=0.02, faults=(Fault("no_usage", times=None),)) as server:
        config = priced(tmp_path, server.base_url)
        for one in config["model_endpoints"].values():
            one["stream"] = stream
        write_run(tmp_path, config, 6)
        finish(tmp_path, "--set", "engine.max_cost_usd=0.02", code=3)
        asked = received(server)
        said = finish(tmp_path)
        assert received(server) > asked
    found = summary(tmp_path)
    calls = sum(role["calls"] for role in found["roles"])
    assert sum(role["estimated"] for role in found["roles"]) == calls > 0
    assert f"tokens of {calls:,} answers are estimated" in said
    events = [line for line in lines(tmp_path / "work" / "run.log") if line["event"] == "endpoint.no_usage"]
    used = {role["endpoint"] for role in found["roles"]}
    assert {event["endpoint"] for event in events} == used
    assert len(events) <= 2 * len(used)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["empty_content", "empty_length", "content_filter"])
def test_an_answer_that_says_nothing_is_paid_for_once(tmp_path: Path, fault: Kind) -> None:
    """Neither retried in place, nor by salvage, nor by the next start; a failed question tried again draws anew."""
    with LoopbackProcess(faults=(Fault(fault, Match(model="strong", contains="(item 1)")),)) as server:
        config = priced(tmp_path, server.base_url)
        config["models"]["mstrong"] = ["strong-a"]
        config["params"] |= {"skip_filter": True, "outcomes": {"length": "accept", "empty": "fail"}}
        write_run(tmp_path, config, 3)
        finish(tmp_path, code=1)
        (failure,) = lines(tmp_path / "work" / "failed.jsonl")
        names = {"empty_content": "empty", "empty_length": "length", "content_filter": "content_filter"}
        assert (failure["row"], failure["kind"], failure["attempts"]) == (2, names[fault], 1)
        assert server.stats().models["strong-a"].received == 3
        (role,) = (role for role in summary(tmp_path)["roles"] if role["role"] == "strong/strong-a")
        assert (role["calls"], role["wasted_usd"]) == (3, 0)
        finish(tmp_path)
        assert server.asked_each_once()
        assert server.stats().models["strong-a"].received == 4
    assert len(lines(tmp_path / "out.jsonl")) == 3


@pytest.mark.slow
def test_a_cap_is_never_passed_nor_left_far_below_and_the_run_goes_on_when_it_is_raised(
    tmp_path: Path,
) -> None:
    with LoopbackProcess() as server:
        free, capped = tmp_path / "free", tmp_path / "capped"
        write_run(free, priced(free, server.base_url), 6)
        finish(free)
        whole = sum(role["cost_usd"] for role in summary(free)["roles"])
    with LoopbackProcess(latency=0.02) as server:
        write_run(capped, priced(capped, server.base_url), 6)
        said = finish(capped, "--set", f"engine.max_cost_usd={whole / 2}", code=3)
        assert "raise engine.max_cost_usd to more than" in said
        assert "Go on with" not in said, "the same command would stop at once"
        costs = costs_in(capped)
        assert whole / 2 - MOST < sum(costs) <= whole / 2
        asked = sum(request.asked for request in server.requests().values())
        assert asked == len(costs), "what was in flight has arrived"
        finish(capped, "--set", f"engine.max_cost_usd={whole / 2}", code=3)
        assert sum(request.asked for request in server.requests().values()) == asked
        finish(capped, "--set", f"engine.max_cost_usd={2 * whole}")
        assert server.asked_each_once()
    assert lines(capped / "out.jsonl") == lines(free / "out.jsonl")
    assert sum(role["cost_usd"] for role in summary(capped)["roles"]) == pytest.approx(whole)


def test_a_cap_without_prices_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    with pytest.raises(ConfigError, match="no endpoint in use has a price"):
        load_config(tmp_path / "config.yaml", ["engine.max_cost_usd=1"])
