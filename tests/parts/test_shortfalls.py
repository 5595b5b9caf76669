"""What a run in parts has not achieved is judged over all parts: it says what one machine would say."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.loopback import Fault, LoopbackProcess, Match
from tests.parts.hosts import HostsHere
from tests.parts.test_parts import in_parts, prepared
from weak2wise.llm.error_rate import WINDOW, CallsSeen
from weak2wise.pipeline.stage import QuestionsSeen
from weak2wise.run.engine import Engine
from weak2wise.run.shortfalls import Shortfalls


def kept_question(folder: Path) -> str:
    """The text of a question that the strong LLMs are asked."""
    return str(json.loads((folder / "work" / "s_prime.jsonl").read_text().splitlines()[0])["question"])


@pytest.mark.slow
def test_a_part_whose_questions_fail_is_no_shortfall_of_the_run(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        asyncio.run(Engine(prepared(tmp_path / "calm", server.base_url), up_to_step=1).run())
    match = Match(model="strong", contains=kept_question(tmp_path / "calm"))
    with LoopbackProcess(faults=(Fault("400", match, times=100),)) as server:
        alone = asyncio.run(Engine(prepared(tmp_path / "alone", server.base_url)).run())
        config = prepared(tmp_path / "parts", server.base_url)
        config = replace(config, cluster=replace(config.cluster, part_rows=1))
        summary = in_parts(config, HostsHere(config, 2))
    assert summary.totals.failed == alone.totals.failed != {}
    assert summary.shortfalls == alone.shortfalls == []


def test_a_role_that_answered_nothing_in_any_part_is_said_once() -> None:
    found = Shortfalls(0.5)
    for _ in range(3):
        found.add(
            [CallsSeen("strong/a", 1, 0, ["bad_request"], "no"), CallsSeen("strong/b", 2, 2, [None, None], "")], []
        )
    assert found.said() == ["the role 'strong/a' answered none of 3 calls; the last failure: no"]
    found.add([CallsSeen("strong/a", 1, 1, [None], "no")], [])
    assert found.said() == []


def test_the_latest_calls_of_all_parts_are_one_window() -> None:
    found = Shortfalls(0.5)
    bad = CallsSeen("judge", WINDOW // 2, 0, ["timeout"] * (WINDOW // 2), "too late")
    found.add([bad], [])
    found.add([CallsSeen("judge", WINDOW, WINDOW, [None] * WINDOW, "")], [])
    assert found.said() == []
    found.add([bad, bad], [])
    (said,) = found.said()
    assert said.startswith(
        "100 of the last 100 calls for the role 'judge' failed, most of them for timeout; the last one"
    )


def test_the_latest_questions_of_all_parts_are_one_window() -> None:
    found = Shortfalls(0.5)
    found.add([], [QuestionsSeen("filter", ["bad_request"], "unclear")])
    assert len(found.said()) == 1
    found.add([], [QuestionsSeen("filter", [None], "")])
    assert found.said() == []
