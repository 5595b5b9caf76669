"""Two runs side by side: what is compared is what their files say."""

import json
import shutil
from pathlib import Path
from statistics import mean, median

import pytest

from tests.engine_runs import lines, rewrite
from tests.finished_run import FinishedRun
from weak2wise.outputs.side_by_side import side_by_side
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


def test_cost_tokens_and_time_are_those_of_the_files(finished: FinishedRun) -> None:
    run = side_by_side(WorkDir(finished.work), WorkDir(finished.work)).first
    summary = json.loads((finished.work / "summary.json").read_text())
    for key in ("calls", "prompt_tokens", "completion_tokens", "cost_usd"):
        assert getattr(run, key) == pytest.approx(sum(role[key] for role in summary["roles"]))
    assert run.cost_for_row == pytest.approx(run.cost_usd / len(finished.emitted))
    assert run.seconds == pytest.approx(summary["this_start"]["seconds"], abs=5)
    assert run.seconds > 0


def test_agreement_is_of_the_common_questions_whatever_their_rows(finished: FinishedRun, other: Path) -> None:
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
