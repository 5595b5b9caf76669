"""Every code that a run may give has words for people."""

import re
from pathlib import Path
from typing import get_args

import pytest

from tests.engine_runs import ROOT
from tests.finished_run import FinishedRun, command
from weak2wise.errors import Kind
from weak2wise.outputs.reasons import cut_in_words, failed_in_words, in_words, mark_in_words
from workers.dedup import NEAR_DUPLICATE
from workers.score import BELOW
from workers.select import NO_PAIR


def test_every_kind_of_failure_has_words_and_keeps_its_code() -> None:
    for kind in get_args(Kind):
        said = failed_in_words(f"generate/{kind}")
        assert re.fullmatch(rf"writing traces: [a-z].* \({kind}\)", said), said


def test_every_reason_to_drop_has_words() -> None:
    written = {
        found for path in (ROOT / "workers").glob("*.py") for found in re.findall(r'Drop\("(\w+)"\)', path.read_text())
    }
    assert "weak_solves" in written
    for reason in {*written, NEAR_DUPLICATE, BELOW, NO_PAIR, "unfaithful"}:
        assert in_words(reason) != reason
    assert in_words("contaminated/aime24.jsonl") == "in the evaluation set aime24.jsonl"


def test_a_code_that_is_not_known_is_said_as_it_is() -> None:
    """A plugin's own; what is printed is escaped where it is printed."""
    assert (in_words("mine"), mark_in_words("mine"), cut_in_words("mine")) == ("mine", "mine", "mine")
    assert failed_in_words("stage/mine") == "stage: mine"
    assert failed_in_words("mine") == "mine"


def test_status_says_failures_in_words(finished: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    assert command("status", finished.work) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "failed: the input line is not a JSON object (not_json): 1" in said


def test_report_and_card_show_no_bare_code(finished: FinishedRun, report: Path, tmp_path: Path) -> None:
    assert command("export", finished.work, "--out", tmp_path) == 0
    for text in (report.read_text(), (tmp_path / "README.md").read_text()):
        assert "weak_solves" not in text
        assert "solved by the weak LLM" in text
