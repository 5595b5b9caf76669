"""``preview`` shows a few questions all the way through and keeps nothing."""

import json
import os
import subprocess
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console

from tests.engine_runs import ROOT, lines, run_in
from tests.finished_run import FinishedRun
from tests.loopback import LoopbackProcess, Mix
from weak2wise.commands.preview import show
from weak2wise.outputs.work_dir import WorkDir
from workers.records import Golden


def preview(folder: Path, *arguments: str, code: int) -> str:
    """Preview in a process of its own, as it configures that process's log."""
    full = [sys.executable, "-m", "weak2wise.engine", "preview", "--config", str(folder / "config.yaml"), *arguments]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


@pytest.mark.slow
def test_preview_shows_traces_masks_and_verdicts_and_keeps_nothing(tmp_path: Path, server: LoopbackProcess) -> None:
    run_in(tmp_path, server.base_url, 5, n_mask=3)
    before = sorted(tmp_path.rglob("*"))
    said = preview(tmp_path, "-n", "2", "--full", code=0)
    assert "2 of 2 questions passed all steps" in said
    for question in lines(tmp_path / "in.jsonl")[:2]:
        assert question["question"] in said
    assert "(to be continued...)" in said.replace("\n  ", " ")
    for level in range(3):
        assert said.count(f"masked {level}/3: the weak LLM") == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_preview_takes_the_first_questions_that_a_run_would_not_drop_unasked(
    tmp_path: Path, server: LoopbackProcess
) -> None:
    run_in(tmp_path, server.base_url, 5, n_mask=2)
    asked = lines(tmp_path / "in.jsonl")
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked[:2]))
    said = preview(tmp_path, "-n", "1", "--set", f"dataset.decontaminate=[{tmp_path / 'set.jsonl'}]", code=0)
    assert "1 of 1 questions passed all steps" in said
    assert asked[2]["question"] in said
    said = preview(tmp_path, "-n", "1", "--set", f"dataset.decontaminate=[{tmp_path / 'in.jsonl'}]", code=2)
    assert "every question is in an evaluation set (dataset.decontaminate)" in said


def test_preview_says_of_a_score_that_it_is_a_bound_and_why_a_question_was_dropped(finished: FinishedRun) -> None:
    """Of most losers a race does not ask every level."""
    console = Console(file=StringIO(), width=120)
    show(WorkDir(finished.work), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    bounds = [line["score_is_bound"] for line in lines(finished.work / "scored_candidates.jsonl")]
    assert said.count("  at most 0.") == sum(bounds) > 0
    dropped = json.loads((finished.work / "summary.json").read_text())["totals"]["dropped"]
    assert said.count("was dropped: weak_solves") == dropped["weak_solves"] > 0


@pytest.mark.slow
def test_a_bug_in_preview_shows_its_traceback_as_the_log_is_gone(tmp_path: Path, server: LoopbackProcess) -> None:
    run_in(tmp_path, server.base_url, 1, n_mask=2)
    code = (
        "from weak2wise import commands\n"
        "from weak2wise.commands import preview\n"
        "def broken(*_, **__): raise ValueError('broken')\n"
        "preview.show = broken\n"
        "commands.run_command_line()"
    )
    full = [sys.executable, "-c", code, "preview", "--config", str(tmp_path / "config.yaml")]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_SOFTWARE
    assert "in broken" in done.stderr
    assert "This is a bug in weak2wise: ValueError: broken. The traceback is above." in done.stderr.splitlines()
    assert "run.log" not in done.stderr


@pytest.mark.slow
def test_preview_tells_a_failure_in_lines(tmp_path: Path) -> None:
    with LoopbackProcess(faults=Mix(mix={"401": 1.0})) as server:
        run_in(tmp_path, server.base_url)
        told = preview(tmp_path, code=3)
    assert "Try again with: python -m weak2wise.engine preview" in told
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_a_question_fits_one_screen_and_full_shows_all_of_it(finished: FinishedRun, width: int) -> None:
    work = WorkDir(finished.work)
    long = "\n\n".join(f"Line {number} of a reasoning " + "that goes on " * 20 for number in range(50))

    def shown(*, full: bool) -> list[str]:
        console = Console(file=StringIO(), width=width, record=True)
        with patch.object(Golden, "truncated", long):
            show(work, console, full=full)
        return console.export_text().splitlines()

    brief = shown(full=False)
    rules = [at for at, line in enumerate(brief) if line.startswith("question ") and line.endswith("──")]
    assert len(rules) > 1
    assert all(after - at <= 24 for at, after in pairwise(rules))
    assert max(map(len, brief)) <= width
    assert "Line 0 of a reasoning" in "\n".join(brief)
    assert "more lines" in "\n".join(brief)
    assert not any("masked 0/" in line for line in brief)
    whole = "\n".join(shown(full=True))
    assert "Line 25 of a reasoning" in whole
    assert "masked 0/" in whole
    assert "more lines" not in whole
