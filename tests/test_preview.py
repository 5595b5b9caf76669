"""``preview`` shows a few questions all the way through and keeps nothing."""

import subprocess
import sys
from pathlib import Path

from tests.engine_runs import ROOT, lines, run_in
from tests.loopback import LoopbackProcess, Mix


def preview(folder: Path, *arguments: str, code: int) -> str:
    """Preview in a process of its own, as it configures that process's log."""
    full = [sys.executable, "-m", "weak2wise.engine", "preview", "--config", str(folder / "config.yaml"), *arguments]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def test_preview_shows_traces_masks_and_verdicts_and_keeps_nothing(tmp_path: Path, server: LoopbackProcess) -> None:
    run_in(tmp_path, server.base_url, 5, n_mask=3)
    before = sorted(tmp_path.rglob("*"))
    said = preview(tmp_path, "-n", "2", code=0)
    assert "2 of 2 questions went all the way through" in said
    for question in lines(tmp_path / "in.jsonl")[:2]:
        assert question["question"] in said
    assert "(to be continued...)" in said.replace("\n  ", " ")
    for level in range(3):
        assert said.count(f"masked {level}/3: the weak LLM") == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_preview_tells_a_failure_in_lines(tmp_path: Path) -> None:
    with LoopbackProcess(faults=Mix(mix={"401": 1.0})) as server:
        run_in(tmp_path, server.base_url)
        told = preview(tmp_path, code=3)
    assert "Try again with: python -m weak2wise.engine preview" in told
    assert "Traceback" not in told
