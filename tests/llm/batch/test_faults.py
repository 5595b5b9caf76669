"""Whatever goes wrong with batches: the output is that of ordinary calls, and no call is paid twice."""

import asyncio
from pathlib import Path

import pytest

from tests.llm.batch.runs import QUESTIONS, ordinary, paid_once, quick, run, served, write
from tests.loopback.batch_faults import Rule
from weak2wise.errors import RunStopped, single_errors


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The output file of ordinary calls."""
    return asyncio.run(ordinary(tmp_path_factory.mktemp("calm")))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


_PASSING = [
    *(Rule(at="upload", fault=fault) for fault in ("429", "500", "reset", "cut", "500_after", "reset_after")),
    *(Rule(at="create", fault=fault, seconds=0.1) for fault in ("429", "500", "503", "500_after", "reset_after")),
    *(Rule(at="retrieve", fault=fault) for fault in ("429", "500", "404", "reset", "cut")),
    *(Rule(at="content", fault=fault) for fault in ("429", "500", "404", "reset", "cut")),
    *(Rule(at="delete", fault=fault) for fault in ("500", "500_after")),
    *(Rule(at="batch", fault=fault) for fault in ("failed", "token_limit", "expired", "cancelled", "all_failed")),
    *(Rule(at="batch", fault=fault) for fault in ("odd_status", "wrong_counts")),
    Rule(at="batch", fault="files_late", seconds=0.3),
    *(Rule(at="line", fault=fault) for fault in ("doubled", "in_both", "stranger", "status_0", "no_response")),
    *(Rule(at="line", fault=fault) for fault in ("429", "500", "500_in_output")),
]


@pytest.mark.slow
@pytest.mark.parametrize("rule", _PASSING, ids=lambda rule: f"{rule.at}-{rule.fault}")
async def test_a_fault_costs_nothing_but_time(tmp_path: Path, calm: bytes, rule: Rule) -> None:
    async with served(rule) as server:
        await run(write(tmp_path / "run", server.base_url, {}))
        stats = server.batches
        assert sum(stats.faults.values()) == 1
    assert (tmp_path / "run" / "out.jsonl").read_bytes() == calm
    assert paid_once(stats)
    assert stats.files == 0, "questions and answers are left at the provider"


@pytest.mark.slow
async def test_a_batch_that_was_made_although_it_said_500_is_found_when_it_appears_in_the_listing(
    tmp_path: Path,
) -> None:
    rules = Rule(at="create", fault="500_after", times=2), Rule(at="batch", fault="listed_late", times=2, seconds=0.6)
    async with served(*rules, metadata=False) as server:
        await run(write(tmp_path, server.base_url, {}))
        assert paid_once(server.batches)
        assert len(server.batches.batches) == 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["stuck", "odd_end"])
async def test_a_batch_that_comes_to_no_end_is_over_after_its_window(tmp_path: Path, fault: str) -> None:
    async with served(Rule(at="batch", fault=fault)) as server:
        summary = await run(write(tmp_path, server.base_url, {"window": "1s"}))
        assert paid_once(server.batches)
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
@pytest.mark.parametrize("rest_in_errors", [True, False])
async def test_lines_that_an_expired_batch_did_not_reach_go_into_the_next(tmp_path: Path, rest_in_errors: bool) -> None:
    rule = Rule(at="batch", fault="expired", times=2, share=0.25)
    async with served(rule, rest_in_errors=rest_in_errors) as server:
        summary = await run(write(tmp_path, server.base_url, {}))
        assert paid_once(server.batches)
        assert {line.asked for line in server.batches.lines.values()} == {1, 2}
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost", "garbled"])
async def test_a_line_that_is_in_no_file_goes_again_alone(tmp_path: Path, fault: str) -> None:
    async with served(Rule(at="line", fault=fault)) as server:
        summary = await run(write(tmp_path, server.base_url, {}))
        counts = [line.asked for line in server.batches.lines.values()]
    assert sorted(counts) == [1] * (2 * QUESTIONS - 1) + [2]
    assert summary.totals.emitted == QUESTIONS


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Rule(at="batch", fault="failed_line"), Rule(at="line", fault="400")])
async def test_a_line_that_the_provider_refuses_fails_its_question_alone(tmp_path: Path, rule: Rule) -> None:
    async with served(rule) as server:
        summary = await run(write(tmp_path, server.base_url, {}))
        assert {line.charged for line in server.batches.lines.values()} <= {0, 1}
        assert server.batches.charged == 2 * QUESTIONS - 1
    assert summary.totals.failed == {"generate/bad_request": 1}
    assert summary.totals.emitted == QUESTIONS - 1


@pytest.mark.slow
async def test_a_line_that_fails_each_time_costs_its_retries_and_no_more(tmp_path: Path) -> None:
    rule = Rule(at="line", fault="500", contains='"s-1-', times=None)
    async with served(rule) as server:
        config = write(tmp_path, server.base_url, {}, engine={"salvage_rounds": 0})
        text = config.read_text().replace("model_id: strong-a\n", "model_id: strong-a\n    max_retries: 2\n")
        config.write_text(text.replace("model_id: strong-a-two\n", "model_id: strong-a-two\n    max_retries: 2\n"))
        summary = await run(config)
        asked = {name: line.asked for name, line in server.batches.lines.items()}
    assert sorted(asked.values()) == [1] * (2 * QUESTIONS - 2) + [3, 3]
    assert summary.totals.failed == {"generate/server_error": 1}


@pytest.mark.slow
async def test_too_much_at_once_means_smaller_batches_later_and_costs_no_retry(tmp_path: Path) -> None:
    async with served(max_queued=3) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",), engine={"salvage_rounds": 0})
        config.write_text(config.read_text().replace("model_id: strong", "max_retries: 0\n    model_id: strong"))
        summary = await run(config)
        stats = server.batches
    assert summary.totals.emitted == QUESTIONS
    assert paid_once(stats)
    done = [batch for batch in stats.batches if batch.status == "completed"]
    assert max(batch.lines for batch in done) <= 3
    assert len(stats.batches) < 16


@pytest.mark.slow
async def test_lines_that_say_that_the_credit_is_spent_stop_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    async with served(Rule(at="batch", fault="no_credit")) as server:
        config = write(tmp_path, server.base_url, {})
        with pytest.raises(BaseExceptionGroup) as raised:
            await run(config)
        stop = next(error for error in single_errors(raised.value) if isinstance(error, RunStopped))
        assert "credit" in stop.hint
        summary = await run(config)
        assert paid_once(server.batches)
        assert server.batches.files == 0
    assert summary.totals.emitted == QUESTIONS


async def test_batches_that_bring_nothing_stop_the_run(tmp_path: Path) -> None:
    async with served(Rule(at="batch", fault="failed", times=None)) as server:
        with pytest.raises(BaseExceptionGroup) as raised:
            await run(write(tmp_path, server.base_url, {}))
        assert len(server.batches.batches) <= 8
    assert any("in a row came back without an answer" in str(error) for error in single_errors(raised.value))
