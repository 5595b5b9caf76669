"""The command line: each command explains itself, init writes a config, and mistakes are told in a line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_runs import ROOT
from tests.finished_run import FinishedRun, command
from weak2wise.config import load_config
from weak2wise.presets import presets


@pytest.mark.parametrize("provider", list(presets()))
def test_init_writes_a_config_that_loads_and_never_writes_over_one(
    tmp_path: Path, provider: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    assert command("init", provider, "--out", path) == 0
    key = presets()[provider].key
    config = load_config(path, env={key: "k"} if key else {})
    assert config.endpoints[config.models.mstrong[0]].model == presets()[provider].strong.model
    assert config.dataset.finetune_out is None, "so that several work_dirs may be made with it"
    assert (key or "check") in capsys.readouterr().err
    before = path.read_text()
    assert command("init", provider, "--out", path) == 2
    assert "exists" in capsys.readouterr().err
    assert path.read_text() == before


def test_the_readmes_way_works_in_a_fresh_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clone has a config.yaml, the documented example; every command is taken from the README as it stands."""
    steps = [line.partition("#")[0].split() for line in (ROOT / "README.md").read_text().splitlines()]
    init, check = (next(step for step in steps if step[:2] == ["weak2wise", name]) for name in ("init", "check"))
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    assert command(*init[1:]) == 0
    said = capsys.readouterr().err
    assert said.rstrip().endswith(" ".join(check))
    assert command(*check[1:], "--set", "model_endpoints.weak={model_id: m, base_url: 'http://a.example'}") == 2
    assert "data/questions.jsonl: no such file (dataset.input_path)" in capsys.readouterr().out


def test_init_of_nothing_names_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("init") == 2
    assert ", ".join(presets()) in capsys.readouterr().err


def test_init_of_a_provider_that_is_misspelt_names_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("init", "deepsek") == 2
    assert "did you mean deepseek?" in capsys.readouterr().err


def test_init_lists_every_provider_its_models_and_what_is_not_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("init", "--list") == 0
    listed = capsys.readouterr().out
    for name, preset in presets().items():
        assert name in listed
        assert preset.strong.model in listed
        assert str(preset.looked_up) in listed
        assert all(fact in listed for fact in (*preset.strong.unverified, *preset.helper.unverified))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "/nowhere"], "holds no run"),
        (["status", "--config", "/nowhere.yaml"], "no such file; pass --config FILE, or name a WORK_DIR"),
        (["report", "--config", "/nowhere.yaml"], "no such file; pass --config FILE, or name a WORK_DIR"),
        (
            ["export", "--out", "/x", "--config", "/nowhere.yaml"],
            "no such file; pass --config FILE, or name a WORK_DIR",
        ),
        (["status", "/dev/null/work"], "/dev/null/work/manifest.json: cannot be read: Not a directory"),
        (
            ["preview", "--set", "dataset.columns.answer=3"],
            "dataset.columns.answer: expected str",
        ),
        (["report", "/nowhere"], "holds no run"),
        (["check", "--config", "/nowhere.yaml"], "no such file; pass --config FILE"),
        (["check", "--set", "params.n_mask=0"], "params.n_mask: expected int >= 1"),
        (["preview", "--set", "dataset.input_path=/nowhere.jsonl"], "dataset.input_path"),
    ],
)
def test_mistakes_are_told_in_a_line_with_exit_2(
    finished: FinishedRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(finished.folder)
    assert command(*arguments) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("out", "written"),
    [("/proc/x.jsonl", "/proc/x.jsonl"), ("/proc/x.parquet", "/proc/x.parquet"), ("/proc/x", "/proc/x/train.jsonl")],
)
def test_what_cannot_be_written_is_named_as_it_was_asked_for(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str], out: str, written: str
) -> None:
    assert command("export", finished.work, "--out", out) == 3
    assert capsys.readouterr().err.startswith(f"{written}: cannot be written: ")
    assert command("report", finished.work, "--out", "/proc/x.html") == 3
    assert capsys.readouterr().err.startswith("/proc/x.html: cannot be written: ")


@pytest.mark.slow
@pytest.mark.parametrize("out", ["x.jsonl", "x.parquet", "x.html"])
def test_a_full_disk_is_told_with_the_file_that_has_no_room(finished: FinishedRun, tmp_path: Path, out: str) -> None:
    """No file of this process may grow beyond a few bytes."""
    name = "report" if out.endswith("html") else "export"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (99, 99))"
    full = f"{limit}; from weak2wise.commands import run_command_line; run_command_line()"
    arguments = [name, str(finished.work), "--out", str(tmp_path / out)]
    done = subprocess.run(
        [sys.executable, "-c", full, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith(f"{tmp_path / out}: cannot be written: File too large. ")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_a_run_that_goes_on_says_so(finished: FinishedRun, tmp_path: Path) -> None:
    """The lock alone shows it: a process that holds it is running."""
    import fcntl  # noqa: PLC0415

    lock = os.open(finished.work / "lock", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert command("report", finished.work, "--out", tmp_path / "r.html") == 0
    finally:
        os.close(lock)
    assert "<strong>running</strong>" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("name", ["run", "check", "preview", "status", "report", "export", "init"])
def test_help_teaches_each_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command(name, "--help")
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: weak2wise {name} ")
    assert "Parameters" in said


def test_the_list_of_commands_loads_none_of_their_libraries() -> None:
    heavy = {"datasets", "pyarrow", "huggingface_hub", "latex2mathml", "zstandard", "pandas"}
    code = f"import sys, weak2wise.commands; sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("word", "says"),
    [("chekc", "no such command; did you mean check?"), ("nonsense", "no such command; there are run")],
)
def test_a_misspelt_command_is_answered_with_the_right_one(word: str, says: str) -> None:
    full = [sys.executable, "-m", "weak2wise.engine", word]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{word}: {says}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
