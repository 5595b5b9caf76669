"""Requests that will not be answered: their rows get the error once, and not before all their answers are there."""

from pathlib import Path

import pytest

from tests.llm.batch.runs import QUESTIONS, paid_once, quick, run, served, write
from tests.loopback.batch_faults import Rule
from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.llm.errors import Rejected

KEY, OTHER = "a" * 32, "b" * 32


def test_a_row_is_back_when_none_of_its_requests_is_out() -> None:
    out, back = Outstanding(), list[int]()
    out.back = back.append
    for key in (KEY, OTHER):
        out.add(1, key)
    out.discard(1, KEY)
    assert out.has_row(1)
    assert not back
    out.discard(1, KEY)
    out.discard(1, OTHER)
    assert back == [1]
    assert (out.count, out.has_row(1)) == (0, False)


def test_a_failure_is_told_each_time_that_the_row_was_parked_and_only_then() -> None:
    """It may be parked again for a call at another endpoint; and once it has failed, it may be tried anew."""
    out = Outstanding()
    error = Rejected("bad_request", "no", endpoint="e")
    out.fail(1, KEY, error)
    assert out.failure(1, KEY) is error
    out.add(1, OTHER)
    out.discard(1, OTHER)
    assert out.failure(1, KEY) is error
    assert out.failure(1, KEY) is None
    assert out.failure(1, KEY) is None


@pytest.mark.slow
async def test_a_refused_request_is_not_sent_again_while_the_row_waits_for_another_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    refused = Rule(at="line", fault="400", contains='"s-1-', times=None)
    expired = Rule(at="batch", fault="expired", contains="strong-a-two", share=0.0, times=2)
    async with served(refused, expired) as server:
        config = write(tmp_path, server.base_url, {}, params={"min_candidates": 1})
        summary = await run(config)
        asked = {custom_id: line.asked for custom_id, line in server.batches.lines.items()}
        of_first = sorted(count for custom_id, count in asked.items() if custom_id.startswith("s-1-"))
    assert of_first[0] == 1 < of_first[1]  # 2 if the row was in only one of the batches that expired, else 3
    assert len(of_first) == 2
    assert summary.totals.emitted == QUESTIONS - 1
    assert not paid_once(server.batches)
