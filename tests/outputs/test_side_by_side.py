"""Two runs side by side: what is compared is what their files say."""

import json
import shutil
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from tests.engine_runs import lines, rewrite
from tests.finished_run import FinishedRun
from weak2wise.outputs.side_by_side import Apart, side_by_side
from weak2wise.outputs.work_dir import WorkDir


@pytest.fixture(scope="module")
def other(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like the finished one, of which two questions have other winners and one is no longer there."""
    work = tmp_path_factory.mktemp("other") / "work"
    shutil.copytree(finished.work, work)
    (shard,) = (work / "ledger" / "select").glob("*.jsonl")
    golden = lines(shard)
    golden[0]["record"]["winner"]["normal"] += " And so on."
    golden[1]["record"]["winner"] |= {"m_strong": "strong-b", "normal": "Another one."}
    golden[1]["record"]["score"]["score"] += 0.25
    golden[2]["record"]["question"]["text"] = "Another question?"
    rewrite(shard, golden)
    manifest = json.loads((work / "manifest.json").read_text())
    manifest["shape"] |= {"params.n_mask": 8, "params.gen_temperature": 0.9}
    (work / "manifest.json").write_text(json.dumps(manifest))
    return work


def test_a_run_agrees_with_itself(finished: FinishedRun) -> None:
    work = WorkDir(finished.work)
    found = side_by_side(work, work)
    scores = [line["score"] for line in finished.selected]
    assert found.first == found.second
    assert found.common.questions == len(scores) == found.first.golden
    assert (found.only_first, found.only_second, found.common.higher, found.common.lower) == (0, 0, 0, 0)
    assert found.common.same_trace is not None
    assert found.common.same_trace.value == 1
    assert found.common.difference is not None
    assert found.common.difference.value == 0
    assert found.first.mean_score is not None
    assert found.first.mean_score.value == pytest.approx(mean(scores))
    assert found.first.median_score == median(scores)
    assert (found.changed, found.scored_alike, found.same_input) == ([], True, True)
    assert found.alike is not None
    assert (found.alike.value, found.alike.clusters) == (
        1,
        len(finished.emitted) + sum(found.first.totals.dropped.values()),
    )
    assert found.apart == []


def test_cost_tokens_and_time_are_those_of_the_files(finished: FinishedRun) -> None:
    run = side_by_side(WorkDir(finished.work), WorkDir(finished.work)).first
    summary = json.loads((finished.work / "summary.json").read_text())
    for key in ("calls", "prompt_tokens", "completion_tokens", "cost_usd"):
        assert getattr(run, key) == pytest.approx(sum(role[key] for role in summary["roles"]))
    assert run.cost_for_row == pytest.approx(run.cost_usd / len(finished.emitted))
    assert run.seconds == pytest.approx(summary["this_start"]["seconds"], abs=5)
    assert run.seconds > 0


def test_agreement_is_of_the_common_questions(finished: FinishedRun, other: Path) -> None:
    first, second = lines(finished.work / "ledger/select/00000.jsonl"), lines(other / "ledger/select/00000.jsonl")
    found = side_by_side(WorkDir(finished.work), WorkDir(other))
    both = len(first) - 1
    assert found.common.questions == both
    assert (found.only_first, found.only_second) == (1, 1)
    assert found.common.same_trace is not None
    assert found.common.same_trace.value == pytest.approx(1 - 2 / both)
    models = sum(a["record"]["winner"]["m_strong"] == "strong-b" for a in first[1:2])
    assert found.common.same_model is not None
    assert found.common.same_model.value == pytest.approx(1 - (1 - models) / both)
    assert found.common.difference is not None
    assert found.common.difference.value == pytest.approx(0.25 / both)
    assert (found.common.higher, found.common.lower) == (1, 0)
    moved = first[1]["record"]
    score = moved["score"]["score"]
    assert found.apart == [Apart(first[1]["row"], moved["question"]["text"], score, score + 0.25)]
    back = side_by_side(WorkDir(other), WorkDir(finished.work))
    assert back.common.difference is not None
    assert back.common.difference.value == pytest.approx(-0.25 / both)
    assert len(first) == len(second)


def test_what_differs_is_named_and_whether_scores_can_be_compared(finished: FinishedRun, other: Path) -> None:
    found = side_by_side(WorkDir(finished.work), WorkDir(other))
    assert [(c.key, c.first, c.second, c.of_scores) for c in found.changed] == [
        ("params.gen_temperature", "0.6", "0.9", False),
        ("params.n_mask", "6", "8", True),
    ]
    assert not found.scored_alike


def changed(run: FinishedRun, folder: Path, *, other_input: bool = False, **params: Any) -> Path:
    """A copy of a run with other settings, of the same input or of another."""
    work = folder / "work"
    shutil.copytree(run.work, work)
    manifest = json.loads((work / "manifest.json").read_text())
    manifest["shape"] |= {f"params.{key}": value for key, value in params.items()}
    if other_input:
        manifest["input"]["sha256"] = manifest["input"]["sha256"][::-1]
    (work / "manifest.json").write_text(json.dumps(manifest))
    return work


def test_equal_questions_are_matched_by_row_with_one_input_and_one_after_another_with_two(
    finished: FinishedRun, tmp_path: Path
) -> None:
    """Two questions of each run are the same one; the second run has no golden trace of the first of the two."""
    works = [changed(finished, tmp_path / "0"), changed(finished, tmp_path / "1")]
    works.append(changed(finished, tmp_path / "2", other_input=True))
    for number, work in enumerate(works):
        (shard,) = (work / "ledger" / "select").glob("*.jsonl")
        golden = lines(shard)
        golden[1]["record"]["question"] = golden[0]["record"]["question"]
        for line, score in zip(golden[:2], (0.125, 0.875), strict=True):
            line["record"]["score"]["score"] = score
        rewrite(shard, golden[bool(number) :])
    one, same, other = (WorkDir(work) for work in works)
    by_row, by_text = side_by_side(one, same), side_by_side(one, other)
    assert by_row.common.questions == by_text.common.questions == len(finished.selected) - 1
    assert (by_row.same_input, by_row.common.higher, by_row.apart) == (True, 0, [])
    assert (by_text.same_input, by_text.common.higher, by_text.alike) == (False, 1, None)
    assert [(found.first, found.second) for found in by_text.apart] == [(0.125, 0.875)]


def test_scores_by_two_scorers_have_no_difference(finished: FinishedRun, tmp_path: Path) -> None:
    found = side_by_side(WorkDir(finished.work), WorkDir(changed(finished, tmp_path, scorer="likelihood")))
    assert not found.scored_alike
    assert (found.common.difference, found.common.higher, found.common.lower, found.apart) == (None, 0, 0, [])
    assert found.common.same_trace is not None
    assert found.common.same_trace.value == 1


def test_a_question_that_one_emitted_and_the_other_dropped_did_not_end_alike(
    finished: FinishedRun, tmp_path: Path
) -> None:
    work = changed(finished, tmp_path)
    (shard,) = (work / "ledger" / "select").glob("*.jsonl")
    (last,) = (work / "ledger" / "sft").glob("*.jsonl")
    dropped = next(line for line in lines(work / "ledger/filter/00000.jsonl") if "reason" in line)
    golden, rows = lines(shard), lines(last)
    rewrite(shard, [dropped | {"row": golden[0]["row"]}, *golden[1:]])
    rewrite(last, [line for line in rows if line["row"] != golden[0]["row"]])
    found = side_by_side(WorkDir(finished.work), WorkDir(work)).alike
    assert found is not None
    assert found.value == pytest.approx(1 - 1 / found.clusters)


def test_the_time_at_work_is_that_of_all_starts_without_the_time_between(finished: FinishedRun, tmp_path: Path) -> None:
    """A log of three starts, a day apart; the last one is still going on."""
    shutil.copytree(finished.work, tmp_path / "work")
    log = tmp_path / "work" / "run.log"
    start = next(line for line in log.read_text().splitlines() if '"run.started"' in line)
    event = json.loads(start)
    said = []
    for day, (name, second) in enumerate([("run.interrupted", 40), ("run.stopped", 25), ("progress", 5)], 1):
        begun = {**event, "timestamp": f"2026-01-0{day}T00:00:00Z"}
        counts = dict.fromkeys(event["steps"], 0) | {"dropped": 0}
        ended = {**counts, "event": name, "timestamp": f"2026-01-0{day}T00:00:{second:02}Z", "reason": "a full disk"}
        said += [begun, ended]
    log.write_text("".join(json.dumps(line) + "\n" for line in said))
    history = WorkDir(tmp_path / "work").history
    assert (history.seconds, history.starts) == (70, 3)
