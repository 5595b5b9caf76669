"""An export takes the place of nothing but an earlier export."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.engine_runs import ROOT, config_for, finish, lines, write_run
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess
from weak2wise.errors import ConfigError
from weak2wise.outputs.target import Target
from weak2wise.outputs.work_dir import WorkDir
from workers.method import METHOD


def test_the_entries_of_other_data_sets_stay(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LLaMA-Factory keeps all its data sets in one folder with one dataset_info.json."""
    info = tmp_path / "dataset_info.json"
    others = {"alpaca_en": {"file_name": "alpaca.json", "columns": {"prompt": "instruction"}}}
    info.write_text(json.dumps(others))
    factory = ("--format", "sharegpt")
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl", *factory) == 0
    assert command("export", finished.work, "--out", tmp_path / "top.jsonl", "--top", 2, *factory) == 0
    found = json.loads(info.read_text())
    assert list(found) == ["alpaca_en", "golden", "top"]
    assert found["alpaca_en"] == others["alpaca_en"]
    assert found["golden"]["file_name"] == "golden.jsonl"
    capsys.readouterr()
    push = ("--push-to-hub", "me/golden", "--dry-run", *factory)
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl", *push) == 0
    said = capsys.readouterr().err
    assert "dataset_info.json  " not in said, "what else is in the folder is not told to the Hub"
    assert f"  README.md  {(tmp_path / 'golden.md').stat().st_size:,} bytes" in said
    assert [(tmp_path / f"{name}.md").read_text().count(f"path: {name}.jsonl") for name in ("golden", "top")] == [1, 1]
    info.write_text(json.dumps({"golden": {"file_name": "mine.json"}}))
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl") == 2
    info.write_text("[]")
    assert command("export", finished.work, "--out", tmp_path / "golden.jsonl") == 2
    assert info.read_text() == "[]"
    assert "is not a JSON object" in capsys.readouterr().err


def test_an_export_takes_the_place_of_none_of_the_runs_files(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out, says in {
        finished.folder / "in.jsonl": "is the run's input",
        finished.folder / "out.jsonl": "is the run's training data",
        finished.work / "candidates.jsonl": "is a file of the run itself",
        finished.work / "ledger" / "x.jsonl": "is a file of the run itself",
        tmp_path / "x.json": "ends in .jsonl or .parquet",
        tmp_path / "x.csv": "ends in .jsonl or .parquet",
    }.items():
        before = out.read_bytes() if out.exists() else None
        assert command("export", finished.work, "--out", out, "--no-card") == 2
        assert says in capsys.readouterr().err
        assert (out.read_bytes() if out.exists() else None) == before


@pytest.mark.parametrize("arguments", [[], ["--no-card"]])
def test_a_file_that_no_export_made_is_left_alone(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Neither a user's own data, whatever ``dataset_info.json`` says of it, nor another export beside its card."""
    mine = tmp_path / "mine.jsonl"
    mine.write_text("mine\n")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "mine.jsonl"}}))
    assert command("export", finished.work, "--out", mine, *arguments) == 2
    assert f"{mine}: exists, and no card" in capsys.readouterr().err
    assert mine.read_text() == "mine\n"
    assert command("export", finished.work, "--out", tmp_path / "x" / "train.jsonl") == 0
    assert command("export", finished.work, "--out", tmp_path / "x" / "train.jsonl", "--top", 2, *arguments) == 0
    assert len(lines(tmp_path / "x" / "train.jsonl")) == 2
    before = (tmp_path / "x" / "README.md").read_text()
    code = command("export", finished.work, "--out", tmp_path / "x" / "train.parquet", *arguments)
    assert (code, (tmp_path / "x" / "README.md").read_text()) == (0 if arguments else 2, before)


@pytest.mark.slow
def test_the_runs_input_is_known_from_any_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its config names it as seen from the folder that the run was started in."""
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        config["dataset"]["input_path"] = os.path.relpath(tmp_path / "in.jsonl", ROOT)
        write_run(tmp_path, config, 4)
        finish(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = (tmp_path / "in.jsonl").read_bytes()
    assert command("export", "../work", "--out", "../in.jsonl", "--no-card") == 2
    assert "is the run's input" in capsys.readouterr().err
    assert (tmp_path / "in.jsonl").read_bytes() == before
    assert command("export", "../work", "--out", "x", "--top", 1, "--balance-by", "id") == 0
    assert len(lines(Path("x/train.jsonl"))) == 1


@pytest.mark.slow
def test_an_evaluation_set_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        config["dataset"]["decontaminate"] = [str(tmp_path / "set.jsonl")]
        write_run(tmp_path, config, 2)
        (tmp_path / "set.jsonl").write_text('{"question": "Any other?"}\n')
        finish(tmp_path)
    assert command("export", tmp_path / "work", "--out", tmp_path / "set.jsonl", "--no-card") == 2
    assert "is an evaluation set of the run" in capsys.readouterr().err


def test_a_readme_of_somebody_elses_is_left_alone(
    finished: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert command("export", finished.work, "--out", tmp_path) == 2
    assert "--no-card" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert command("export", finished.work, "--out", tmp_path, "--no-card") == 0


@pytest.mark.parametrize("name", ["golden.jsonl", "golden.md", "dataset_info.json"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("input", "is the run's input"),
        ("sets", "is an evaluation set of the run"),
        ("output", "is the run's training data"),
    ],
)
def test_none_of_the_files_of_an_export_may_be_one_that_the_run_names(
    tmp_path: Path, name: str, kind: str, says: str
) -> None:
    """A card or an entry of LLaMA-Factory's is written, too, unless it is left out."""
    path = str(tmp_path / name)
    named = {"input": None, "sets": [], "output": None, kind: [path] if kind == "sets" else path}
    work = cast("WorkDir", SimpleNamespace(folder=tmp_path / "work", history=SimpleNamespace(**named)))
    target = Target.of(tmp_path / "golden.jsonl")
    with pytest.raises(ConfigError, match=says):
        target.check(work, card=True)
    if name == "golden.jsonl":
        with pytest.raises(ConfigError, match=says):
            target.check(work, card=False)
    else:
        target.check(work, card=False)


def test_the_training_data_in_the_work_dir_is_known_by_any_of_its_names(tmp_path: Path) -> None:
    """Here by a link from elsewhere; the config names no other output."""
    (tmp_path / "work").mkdir()
    (tmp_path / "golden.jsonl").symlink_to(tmp_path / "work" / METHOD[-1].file)
    work = SimpleNamespace(folder=tmp_path / "work", history=SimpleNamespace(input=None, sets=[], output=None))
    with pytest.raises(ConfigError, match="is the run's training data"):
        Target.of(tmp_path / "golden.jsonl").check(cast("WorkDir", work), card=False)
