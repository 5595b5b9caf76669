"""``params.keep`` through a whole run: more rows a question, or pairs, in every file and layout."""

import json
from pathlib import Path
from typing import Any

import pytest

import weak2wise
from tests.api.runs import questions
from tests.engine_runs import lines
from tests.finished_run import command
from tests.run.test_scorer_choice import config_for
from weak2wise.errors import ConfigError


async def run_with(folder: Path, keep: Any, scorer: str = "stepmask") -> weak2wise.Run:
    return await weak2wise.asynthesize(questions(6), config_for(scorer, keep=keep), work_dir=folder / "work")


@pytest.mark.parametrize("scorer", ["stepmask", "longest"])
async def test_the_best_traces_of_a_question_become_rows_of_their_own(scorer: str, tmp_path: Path) -> None:
    run = await run_with(tmp_path, 2, scorer)
    rows = lines(run.work_dir / "finetune.jsonl")
    assert run.totals.emitted == 6
    kept = [trace for golden in run.golden() for trace in golden.kept]
    assert 6 < len(kept) <= 12
    assert [row["response"].removeprefix("<think> ").partition(" </think>")[0] for row in rows] == [
        trace.truncated.strip() for trace in kept
    ]
    shown = lines(run.work_dir / "selected_truncated.jsonl")
    assert [line["sample"] for line in shown] == [trace.candidate.sample for trace in kept]
    assert (
        command(
            "export", str(run.work_dir), "--out", str(tmp_path / "out"), "--format", "prompt_response", "--provenance"
        )
        == 0
    )
    exported = lines(tmp_path / "out" / "train.jsonl")
    assert [(row["prompt"], row["response"]) for row in exported] == [(row["prompt"], row["response"]) for row in rows]
    assert [row["provenance"]["score"] for row in exported] == [trace.score.score for trace in kept]
    assert len({row["provenance"]["candidate"] for row in exported}) == len(rows)
    assert f"**{len(rows)} rows**" in (tmp_path / "out" / "README.md").read_text()
    assert command("report", str(run.work_dir)) == 0
    assert " · kept" in (run.work_dir / "report.html").read_text()


async def test_pairs_become_preference_data_in_trls_layout(tmp_path: Path) -> None:
    run = await run_with(tmp_path, "pairs", "longest")
    rows = lines(run.work_dir / "finetune.jsonl")
    assert [list(row) for row in rows] == [["prompt", "chosen", "rejected"]] * len(rows)
    assert len(rows) + run.totals.dropped.get("no_pair", 0) == 6
    assert len(rows) > 0
    for golden in run.golden():
        (worse,) = golden.kept[1:]
        assert worse.score.score < golden.score.score
    out = tmp_path / "out"
    assert command("export", str(run.work_dir), "--out", str(out), "--format", "preference", "--provenance") == 0
    for exported, row in zip(lines(out / "train.jsonl"), rows, strict=True):
        assert exported["prompt"] == [{"role": "user", "content": row["prompt"]}]
        assert exported["chosen"] == [{"role": "assistant", "content": row["chosen"]}]
        assert exported["rejected"] == [{"role": "assistant", "content": row["rejected"]}]
    assert "TRL's DPOTrainer" in (out / "README.md").read_text()
    assert command("export", str(run.work_dir), "--out", str(tmp_path / "sft.jsonl")) == 0
    assert [row["completion"][0]["content"] for row in lines(tmp_path / "sft.jsonl")] == [row["chosen"] for row in rows]
    assert command("export", str(run.work_dir), "--out", str(tmp_path / "p.parquet"), "--format", "preference") == 0


async def test_a_run_without_pairs_has_none_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = await run_with(tmp_path, 1)
    assert command("export", str(run.work_dir), "--out", str(tmp_path / "out"), "--format", "preference") == 2
    assert "they need a run with params.keep: pairs" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    assert "others" not in json.dumps(lines(run.work_dir / "ledger" / "select" / "00000.jsonl"))


async def test_another_number_of_kept_traces_is_another_run(tmp_path: Path) -> None:
    await run_with(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"Changed since: params\.keep\."):
        await run_with(tmp_path, 3)


@pytest.mark.parametrize("keep", [0, -1, "pair", 1.5])
def test_a_keep_that_makes_no_sense_is_refused(keep: object) -> None:
    with pytest.raises(ConfigError, match=r"params\.keep"):
        weak2wise.Params(keep=keep)  # type: ignore[arg-type]
