"""Exports are read by the tools they are made for, say where they come from, and hold the rows that were asked for."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import ROOT, lines, rewrite
from tests.finished_run import SUBJECTS, FinishedRun, command
from weak2wise.outputs.choice import shares
from weak2wise.outputs.layouts import LAYOUTS

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def load(path: Path, kind: str = "json") -> Any:
    """The file as Hugging Face ``datasets`` reads it."""
    import datasets  # noqa: PLC0415 - a second

    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


def prompts_and_responses(layout: str, rows: Any) -> list[tuple[str, str]]:
    match layout:
        case "messages":
            chats = [row["messages"] for row in rows]
            assert all([turn["role"] for turn in chat] == ["user", "assistant"] for chat in chats)
            return [(chat[0]["content"], chat[1]["content"]) for chat in chats]
        case "sharegpt":
            chats = [row["conversations"] for row in rows]
            assert all([turn["from"] for turn in chat] == ["human", "gpt"] for chat in chats)
            return [(chat[0]["value"], chat[1]["value"]) for chat in chats]
        case "alpaca":
            assert all(row["input"] == "" for row in rows)
            return [(row["instruction"], row["output"]) for row in rows]
        case "prompt_completion":
            turns = [(row["prompt"], row["completion"]) for row in rows]
            assert all([p["role"], c["role"]] == ["user", "assistant"] for (p,), (c,) in turns)
            return [(p["content"], c["content"]) for (p,), (c,) in turns]
    return [(row["prompt"], row["response"]) for row in rows]


@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS.items() if not layout.of_pairs])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_each_layout_is_read_by_datasets_and_holds_every_emitted_row_in_order(
    finished: FinishedRun, tmp_path: Path, layout: str, kind: str
) -> None:
    out = tmp_path / f"train.{kind}"
    assert command("export", finished.work, "--out", out, "--format", layout, "--provenance") == 0
    rows = load(out, "parquet" if kind == "parquet" else "json")
    expected = [(row["prompt"], row["response"]) for row in finished.emitted]
    assert expected
    assert prompts_and_responses(layout, rows) == expected
    assert [p["score"] for p in rows["provenance"]] == [line["score"] for line in finished.selected]


@pytest.mark.parametrize("layout", ["messages", "prompt_completion"])
def test_trl_takes_the_columns_for_what_they_are(finished: FinishedRun, tmp_path: Path, layout: str) -> None:
    """TRL's rule: ``messages`` or ``prompt`` with ``completion``; turns of role and content make it conversational.

    Where they are plain texts, it puts them together without the model's chat template.
    """
    assert command("export", finished.work, "--out", tmp_path, "--format", layout) == 0
    rows = load(tmp_path / "train.jsonl")
    kinds = {"messages": {"messages"}, "prompt_completion": {"prompt", "completion"}}
    assert set(rows.column_names) == kinds[layout]
    for row in rows:
        turns = row["messages"] if layout == "messages" else [*row["prompt"], *row["completion"]]
        assert [turn["role"] for turn in turns] == ["user", "assistant"]
        assert all(set(turn) == {"role", "content"} and turn["content"] for turn in turns)


@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS.items() if layout.info is not None])
def test_llama_factorys_entry_names_columns_and_tags_that_are_there(
    finished: FinishedRun, tmp_path: Path, layout: str
) -> None:
    assert command("export", finished.work, "--out", tmp_path / "golden", "--format", layout) == 0
    (entry,) = json.loads((tmp_path / "golden" / "dataset_info.json").read_text()).items()
    name, info = entry
    assert name == "golden"
    row = lines(tmp_path / "golden" / info["file_name"])[0]
    assert set(info["columns"].values()) == set(row)
    if info["formatting"] == "sharegpt":
        tags = info["tags"]
        user, assistant = row[info["columns"]["messages"]]
        assert set(user) == {tags["role_tag"], tags["content_tag"]}
        assert (user[tags["role_tag"]], assistant[tags["role_tag"]]) == (tags["user_tag"], tags["assistant_tag"])


def test_a_layout_that_llama_factory_does_not_read_has_no_entry(finished: FinishedRun, tmp_path: Path) -> None:
    """One that an earlier export in another layout left would say what is not so."""
    info = tmp_path / "dataset_info.json"
    to_trl = ("--format", "prompt_completion")
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl", *to_trl) == 0
    assert not info.exists()
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl", "--format", "alpaca") == 0
    assert command("export", finished.work, "--out", tmp_path / "other.jsonl", "--format", "alpaca") == 0
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl", *to_trl) == 0
    assert list(json.loads(info.read_text())) == ["other"]


def test_a_mark_that_comes_late_is_read_by_who_guesses_types_from_the_first_rows(
    finished: FinishedRun, tmp_path: Path
) -> None:
    """``datasets`` reads a file in pieces, and takes the first one's types for all."""
    import datasets  # noqa: PLC0415 - a second

    work = tmp_path / "work"
    shutil.copytree(finished.work, work)
    (shard,) = (work / "ledger" / "select").glob("*.jsonl")
    *before, last = lines(shard)
    last["record"]["winner"]["marks"] = ["length", "unfaithful"]
    rewrite(shard, [*before, last])
    out = tmp_path / "train.jsonl"
    assert command("export", work, "--out", out, "--provenance") == 0
    rows = datasets.load_dataset(
        "json", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"), chunksize=4000
    )
    marks = {provenance["row"]: provenance["marks"] for provenance in rows["provenance"]}
    assert marks.pop(last["row"]) == "length, unfaithful"
    assert set(marks.values()) == {""}


def test_provenance_says_what_the_ledger_says(finished: FinishedRun, tmp_path: Path) -> None:
    assert command("export", finished.work, "--out", tmp_path, "--provenance") == 0
    found = [line["provenance"] for line in lines(tmp_path / "train.jsonl")]
    models = {"strong-a": "strong-a", "strong-b": "strong-a-two"}  # endpoint to model
    for provenance, golden in zip(found, finished.selected, strict=True):
        assert provenance["row"] == golden["row"]
        assert provenance["id"] == golden["id"]
        assert provenance["marks"] == ""
        assert provenance["s_list"] == golden["debug"]["s_list"]
        assert provenance["strong_model"] == models[golden["m_strong"]]
        assert provenance["candidate"] == f"{golden['row']}/{golden['m_strong']}/{golden['sample']}"
        assert provenance["judge"] == ("rule and llm" if provenance["judge_llm_calls"] else "rule")
    journal = [answer for shard in finished.work.glob("ledger/journal/*") for answer in lines(shard)]
    emitted = {provenance["row"] for provenance in found}
    costs = {row: sum(answer.get("cost_usd", 0) for answer in journal if answer["row"] == row) for row in emitted}
    assert any(costs.values())
    assert {p["row"]: p["cost_usd"] for p in found} == pytest.approx(costs, abs=1e-6)
    judged = sum(answer["role"] == "judge" and answer["row"] in emitted for answer in journal)
    assert sum(provenance["judge_llm_calls"] for provenance in found) == judged


def test_top_takes_the_highest_scores_and_min_score_a_floor(finished: FinishedRun, tmp_path: Path) -> None:
    scores = sorted((line["score"] for line in finished.selected), reverse=True)
    assert command("export", finished.work, "--out", tmp_path / "top", "--top", 4, "--provenance") == 0
    top = [line["provenance"] for line in lines(tmp_path / "top" / "train.jsonl")]
    assert sorted((p["score"] for p in top), reverse=True) == scores[:4]
    assert [p["row"] for p in top] == sorted(p["row"] for p in top)
    floor = scores[len(scores) // 2]
    assert command("export", finished.work, "--out", tmp_path / "floor", "--min-score", floor) == 0
    assert len(lines(tmp_path / "floor" / "train.jsonl")) == sum(score >= floor for score in scores)


@pytest.mark.parametrize("column", ["m_strong", "subject"])
def test_top_is_shared_evenly_between_the_values_of_a_column(
    finished: FinishedRun, tmp_path: Path, column: str
) -> None:
    """By the winning model, or by a column that only the input has; in each share the highest scores."""
    selected = finished.selected
    value = {
        line["row"]: line["m_strong"] if column == "m_strong" else SUBJECTS[line["row"] % 2 - 1] for line in selected
    }
    assert command("export", finished.work, "--out", tmp_path, "--top", 4, "--balance-by", column, "--provenance") == 0
    rows = [line["provenance"]["row"] for line in lines(tmp_path / "train.jsonl")]
    assert Counter(value[row] for row in rows) == dict.fromkeys(set(value.values()), 2)
    for name in set(value.values()):
        best = sorted((-line["score"], line["row"]) for line in selected if value[line["row"]] == name)[:2]
        assert {row for _, row in best} == {row for row in rows if value[row] == name}


@pytest.mark.parametrize(
    ("groups", "top", "expected"),
    [([0, 0, 0, 0, 1, 1, 1, 1], 4, [2, 2]), ([0, 1, 1, 1, 1, 1], 4, [1, 3]), ([0, 0, 1, 2, 2], 4, [1, 1, 2])],
)
def test_what_one_value_cannot_fill_goes_to_the_others(groups: list[int], top: int, expected: list[int]) -> None:
    found = shares(groups, top)
    assert sum(found) == top
    assert sorted(found) == sorted(expected)
    assert all(share <= groups.count(group) for group, share in enumerate(found))


def test_a_dry_run_says_what_would_be_uploaded_and_uploads_nothing(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    to_hub = ("--push-to-hub", "me/golden", "--format", "messages")
    assert command("export", finished.work, "--out", tmp_path, *to_hub, "--dry-run") == 0
    said = capsys.readouterr().err
    assert "me/golden" in said
    for name in ("train.jsonl", "README.md", "dataset_info.json"):
        assert f"{name}  {(tmp_path / name).stat().st_size:,} bytes" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--balance-by", "id"], "--top"),
        (["--dry-run"], "--push-to-hub"),
        (["--push-to-hub", "no name!", "--dry-run"], "expected user/name"),
        (["--top", "1", "--balance-by", "nowhere"], "has no column 'nowhere'"),
        (["--top", "1000", "--balance-by", "nowhere"], "has no column 'nowhere'"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert command("export", finished.work, "--out", tmp_path, *arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
def test_an_upload_without_network_is_told_in_a_line(finished: FinishedRun, tmp_path: Path) -> None:
    """In a process of its own: huggingface_hub reads its address, where nobody listens, when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_x", "HF_HUB_OFFLINE": "0"}
    full = [sys.executable, "-m", "weak2wise.engine", "export", str(finished.work), "--out", str(tmp_path)]
    done = subprocess.run(
        [*full, "--push-to-hub", "me/golden"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert (
        "--push-to-hub me/golden: [Errno 111] Connection refused. The files are written" in done.stderr.splitlines()[-1]
    )
    assert "Traceback" not in done.stderr


def test_a_name_that_the_hub_would_refuse_is_refused_before_anything_is_written(
    finished: FinishedRun, tmp_path: Path
) -> None:
    assert command("export", finished.work, "--out", tmp_path / "x", "--push-to-hub", "no name!") == 2
    assert command("export", finished.work, "--out", tmp_path / "x", "--push-to-hub", "golden") == 2
    assert not (tmp_path / "x").exists()


def test_no_rows_are_a_warning_and_are_not_uploaded(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("export", finished.work, "--out", tmp_path, "--min-score", "9") == 0
    assert "Warning: the run has emitted no row" in capsys.readouterr().err
    push = ("--push-to-hub", "me/golden", "--dry-run")
    assert command("export", finished.work, "--out", tmp_path, "--min-score", "9", *push) == 2
    assert "there are no rows to upload" in capsys.readouterr().err


def test_a_folder_without_a_run_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("export", tmp_path, "--out", tmp_path / "x.jsonl") == 2
    assert "holds no run" in capsys.readouterr().err


def test_without_a_work_dir_the_configs_is_meant_and_no_key_is_needed(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    config["model_endpoints"]["judge"]["api_key_env"] = "A_KEY_THAT_IS_NOT_SET"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    assert command("export", "--out", "x.jsonl", "--no-card", "--format", "prompt_response") == 0
    assert lines(tmp_path / "x.jsonl") == finished.emitted
