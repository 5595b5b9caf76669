"""What becomes of questions that fail: written down with the reason, put aside, tried again, or made do without."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROLES, config_for, finish, lines, start, write_run
from tests.loopback import Fault, LoopbackProcess, Match
from tests.loopback.faults import Kind
from weak2wise.dataset import unreadable_advice

pytestmark = pytest.mark.slow


def failed(folder: Path) -> dict[int, tuple[str, str, str | None, int]]:
    """Row to stage, kind, endpoint and attempts, out of ``failed.jsonl``."""
    found = lines(folder / "work" / "failed.jsonl")
    return {f["row"]: (f["stage"], f["kind"], f["endpoint"], f["attempts"]) for f in found}


def small_config(folder: Path, base_url: str, **params: Any) -> dict[str, Any]:
    """One strong model, no filter, no salvage and no retries: every question asks for little."""
    config = config_for(folder, base_url, skip_filter=True, n_mask=2, scoring="exhaustive", **params)
    config["models"]["mstrong"] = ["strong-a"]
    config["engine"] = {"salvage_rounds": 0}
    for endpoint in config["model_endpoints"].values():
        endpoint |= {"max_retries": 0, "outage_patience": 0.1}
    return config


def test_failed_questions_are_tried_again_by_kind_and_the_others_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says where, why and after how many attempts; a secret that the provider repeats is cut out."""
    faults = (
        Fault("400", Match(model="strong", contains="(item 1)"), times=1),
        Fault("500", Match(model="strong", contains="(item 3)"), times=2),
        Fault("500", Match(model="weak", contains="(item 5)"), times=4),
    )
    monkeypatch.setenv("SECRET", "temperature")  # a word of the server's refusal
    with LoopbackProcess(faults=faults) as server:
        config = small_config(tmp_path, server.base_url)
        for endpoint in config["model_endpoints"].values():
            endpoint |= {"max_retries": 1, "headers": {"X-Key": "$SECRET"}}
        write_run(tmp_path, config, 6)
        finish(tmp_path, code=1)
        bad, slow = ("generate", "bad_request", "strong-a", 1), ("generate", "server_error", "strong-a", 2)
        assert failed(tmp_path) == {2: bad, 4: slow, 6: ("stepmask", "server_error", "weak", 2)}
        assert [line["id"] for line in lines(tmp_path / "work" / "failed.jsonl")] == ["q1", "q3", "q5"]
        assert "'[redacted]'" in lines(tmp_path / "work" / "failed.jsonl")[0]["message"]
        said = finish(tmp_path, "--kind", "timeout", command="retry-failed", code=2)
        assert "no failed question to try again (failed there: 1 bad_request, 2 server_error)" in said
        finish(tmp_path, "--kind", "server_error", command="retry-failed", code=1)
        assert failed(tmp_path) == {2: bad}
        finish(tmp_path, command="retry-failed")
        assert failed(tmp_path) == {}
        assert len(lines(tmp_path / "out.jsonl")) == 6


def test_a_new_trial_that_is_interrupted_is_gone_on_with(tmp_path: Path) -> None:
    """The question has left the step that it failed in; it is tried again all the same, and only it."""
    faults = (
        Fault("400", Match(model="strong", contains="(item 1)"), times=1),
        Fault("400", Match(model="strong", contains="(item 2)"), times=1),
        Fault("hang_before_headers", Match(model="weak", contains="(item 1)"), times=None),
    )
    with LoopbackProcess(faults=faults) as server:
        write_run(tmp_path, small_config(tmp_path, server.base_url), 3)
        finish(tmp_path, code=1)
        process = start(tmp_path, command="retry-failed")
        traced = tmp_path / "work" / "ledger" / "generate" / "00000.jsonl"
        while sum(line["status"] == "done" for line in lines(traced)) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert "Go on with: python -m weak2wise.engine retry-failed" in said
    with LoopbackProcess() as server:
        moved = [f"--set=model_endpoints.{name}.base_url={server.base_url}" for name in ROLES]
        finish(tmp_path, *moved, "--verbose", command="retry-failed")
        assert server.stats().models["weak"].received == 2
        assert "no failed question" in finish(tmp_path, *moved, command="retry-failed", code=2)
    assert len(lines(tmp_path / "out.jsonl")) == 3


def test_answers_cut_off_are_tried_again_with_more_tokens(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("length", Match(model="strong", contains="(item 1)"), times=1),)) as server:
        config = small_config(tmp_path, server.base_url, outcomes={"length": "fail"})
        write_run(tmp_path, config, 2)
        finish(tmp_path, code=1)
        more = "--set=model_endpoints.strong-a.max_tokens=9000"
        finish(tmp_path, more, command="retry-failed", code=2)
        said = finish(tmp_path, more, "--resume", "force", "--page", "0", command="retry-failed")
        assert "The page: http://127.0.0.1:" in said
    assert failed(tmp_path) == {}


def test_what_is_no_question_is_mended_by_a_line_more_and_not_by_trying_again(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, small_config(tmp_path, server.base_url), 2)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write("no JSON\n")
        said = finish(tmp_path, code=1)
        assert "1 input line cannot be read" in said
        assert "To try them again" not in said
        assert "1 input line cannot be read" in finish(tmp_path, command="retry-failed", code=2)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write('{"question": "What is 2 + 3? (item 9)", "answer": "5"}\n')
        assert "append corrected lines to the input" in said
        finish(tmp_path, "--resume", "force", code=1)
    assert len(lines(tmp_path / "out.jsonl")) == 3
    assert "a work_dir of its own" in unreadable_advice(2, tmp_path / "failed.jsonl", Path("in.parquet"))


def test_a_flawed_trace_is_accepted_with_a_mark_asked_for_again_or_failed_as_configured(tmp_path: Path) -> None:
    """A failed question tried again goes on with new draws; the old ones come from the journal."""

    def strong(fault: Kind, item: int, times: int) -> Fault:
        return Fault(fault, Match(model="strong", contains=f"(item {item})"), times=times)

    cut = (
        strong("length", 0, 1),
        strong("length", 1, 3),
        strong("content_filter", 2, 1),
        strong("empty_content", 3, 1),
    )
    with LoopbackProcess(faults=cut) as server:
        outcomes = {"length": "retry", "empty": "retry", "retries": 1}
        write_run(tmp_path, small_config(tmp_path, server.base_url, outcomes=outcomes), 4)
        finish(tmp_path, code=1)
        assert failed(tmp_path) == {
            2: ("generate", "length", "strong-a", 2),
            3: ("generate", "content_filter", "strong-a", 1),
        }
        asked = server.stats().models["strong-a"].received
        finish(tmp_path, command="retry-failed")
        assert server.stats().models["strong-a"].received == asked + 2 + 1
        marks = {line["row"]: line["marks"] for line in lines(tmp_path / "work" / "candidates.jsonl")}
        assert marks == {1: [], 2: [], 3: [], 4: []}
    with LoopbackProcess(faults=(strong("length", 1, 1),)) as server:
        write_run(tmp_path / "accepted", small_config(tmp_path / "accepted", server.base_url), 2)
        finish(tmp_path / "accepted")
        marks = {line["row"]: line["marks"] for line in lines(tmp_path / "accepted" / "work" / "candidates.jsonl")}
        assert marks == {1: [], 2: ["length", "no_final_answer"]}


@pytest.mark.parametrize(
    ("silent", "counter", "told"),
    [
        ("weak", "verdicts", {"rule": 6}),
        ("judge", "verdicts", {"llm_unclear": 6}),
        ("trunc", "cuts", {"rule": 3}),
    ],
)
def test_a_model_that_says_nothing_is_wrong_unclear_or_done_without(
    tmp_path: Path, silent: str, counter: str, told: dict[str, int]
) -> None:
    """No question fails for the weak LLM, the judge or the truncation model thinking up to their token limits.

    But a role of which nothing came is no success of the run.
    """
    with LoopbackProcess(faults=(Fault("empty_length", Match(model=silent), times=None),)) as server:
        write_run(tmp_path, small_config(tmp_path, server.base_url, judge_mode="llm"), 3)
        finish(tmp_path, code=1)
        assert server.asked_each_once()
    summary = json.loads((tmp_path / "work" / "summary.json").read_text())
    assert told.items() <= summary["this_start"][counter].items()
    assert len(lines(tmp_path / "out.jsonl")) == 3
    if silent != "trunc":
        assert all(line["debug"]["savg"] == 0 for line in lines(tmp_path / "work" / "scored_candidates.jsonl"))


def test_a_trace_of_nothing_is_done_without_where_that_will_do(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("empty_length", Match(model="strong-a-two"), times=None),)) as server:
        config = small_config(tmp_path, server.base_url, min_candidates=1)
        config["models"]["mstrong"] = ["strong-a", "strong-b"]
        write_run(tmp_path, config, 3)
        assert "the role 'strong/strong-b' answered none of 3 calls" in finish(tmp_path, code=1)
        assert server.stats().models["strong-a-two"].received == 3
    assert [line["m_strong"] for line in lines(tmp_path / "work" / "candidates.jsonl")] == ["strong-a"] * 3


def test_a_run_that_buys_nothing_but_silence_stops_and_keeps_what_it_bought(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("empty_length", Match(model="strong"), times=None),), latency=0.02) as server:
        config = small_config(tmp_path, server.base_url)
        config["model_endpoints"]["strong-a"]["max_concurrent_requests"] = 8
        write_run(tmp_path, config, 300)
        said = finish(tmp_path, code=3)
        assert "of the last 100 " in said
        assert " failed, most of them for " in said
        asked = server.stats().models["strong-a"].received
    journal = [line for file in (tmp_path / "work" / "ledger" / "journal").iterdir() for line in lines(file)]
    assert len(journal) == asked < 300


def test_an_answer_that_says_nothing_is_drawn_again_whatever_is_accepted(tmp_path: Path) -> None:
    """And paid for once each time: no retry in place, no salvage."""
    fault = Fault("empty_content", Match(model="strong", contains="(item 0)"), times=2)
    with LoopbackProcess(faults=(fault,)) as server:
        config = small_config(tmp_path, server.base_url)
        config["engine"]["salvage_rounds"] = 1
        write_run(tmp_path, config, 2)
        finish(tmp_path)
        assert server.stats().models["strong-a"].received == 2 + 2
    assert len(lines(tmp_path / "out.jsonl")) == 2


@pytest.mark.parametrize("least", [1, None])
def test_a_dead_strong_model_stops_no_other_and_in_the_end_is_done_without_if_so_configured(
    tmp_path: Path, least: int | None
) -> None:
    """Its candidates stay pending until the last round; what the other model wrote is paid for once."""
    with LoopbackProcess(faults=(Fault("500", Match(model="strong-a-two"), times=None),)) as server:
        config = small_config(tmp_path, server.base_url, min_candidates=least)
        config["models"]["mstrong"] = ["strong-a", "strong-b"]
        config["engine"]["salvage_rounds"] = 2
        write_run(tmp_path, config, 5)
        said = finish(tmp_path, code=1)
        assert "the role 'strong/strong-b' answered none of 15 calls" in said
        asked = {name: count.received for name, count in server.stats().models.items()}
    assert (asked["strong-a"], asked["strong-a-two"]) == (5, 5 * 3)
    if least:
        found = [(line["row"], line["m_strong"]) for line in lines(tmp_path / "work" / "candidates.jsonl")]
        assert found == [(row, "strong-a") for row in range(1, 6)]
        assert len(lines(tmp_path / "out.jsonl")) == 5
    else:
        assert failed(tmp_path) == dict.fromkeys(range(1, 6), ("generate", "server_error", "strong-b", 1))


def test_a_transient_fault_that_outlasts_its_retries_is_salvaged(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("503", Match(model="strong", contains="(item 0)")),)) as server:
        config = small_config(tmp_path, server.base_url)
        config["engine"]["salvage_rounds"] = 1
        write_run(tmp_path, config, 3)
        finish(tmp_path)
    assert len(lines(tmp_path / "out.jsonl")) == 3


def test_a_run_that_is_only_burning_money_stops_and_says_why(tmp_path: Path) -> None:
    """All strong models are dead; what the others did is kept, and the run goes on once they live again."""
    with LoopbackProcess(faults=(Fault("502", Match(model="strong"), times=None),)) as server:
        config = small_config(tmp_path, server.base_url)
        config["engine"]["salvage_rounds"] = 1
        write_run(tmp_path, config, 130)
        said = finish(tmp_path, code=3)
        assert "100 of the last 100 calls for the role 'strong' failed, most of them for " in said
        assert "engine.max_error_rate" in said
        assert "Traceback" not in said
    with LoopbackProcess() as server:
        finish(tmp_path, *(f"--set=model_endpoints.{name}.base_url={server.base_url}" for name in ROLES))
    assert len(lines(tmp_path / "out.jsonl")) == 130


def test_a_run_whose_paid_answers_are_all_thrown_away_stops_and_says_why(tmp_path: Path) -> None:
    """Every call is answered, and every answer is one that the policy does not take."""
    with LoopbackProcess(faults=(Fault("length", Match(model="strong"), times=None),), latency=0.02) as server:
        config = small_config(tmp_path, server.base_url, outcomes={"length": "fail"})
        config["model_endpoints"]["strong-a"]["max_concurrent_requests"] = 8
        write_run(tmp_path, config, 300)
        said = finish(tmp_path, code=3)
        assert "of the last 100 questions at the step 'generate' failed, most of them for length" in said
        assert server.stats().models["strong-a"].received < 300


def test_hints_too_long_for_the_weak_model_are_no_failures_of_it(tmp_path: Path) -> None:
    """As long as it answers others: here one of a question's two attempts is too long."""
    with LoopbackProcess(faults=(Fault("400_context", Match(model="weak", contains="(item 1)"), times=1),)) as server:
        config = small_config(tmp_path, server.base_url)
        write_run(tmp_path, config, 60)
        finish(tmp_path)
    assert len(lines(tmp_path / "out.jsonl")) == 60


def test_one_dead_model_among_several_is_no_reason_to_stop(tmp_path: Path) -> None:
    """Not even though it fails faster than the other one answers, and in rounds in which no other is asked."""
    with LoopbackProcess(faults=(Fault("500", Match(model="strong-a-two"), times=None),)) as server:
        config = small_config(tmp_path, server.base_url, min_candidates=1)
        config["models"]["mstrong"] = ["strong-a", "strong-b"]
        config["engine"] |= {"salvage_rounds": 2, "max_error_rate": 0}
        write_run(tmp_path, config, 150)
        assert "the role 'strong/strong-b' answered none of " in finish(tmp_path, code=1)
    assert len(lines(tmp_path / "out.jsonl")) == 150
