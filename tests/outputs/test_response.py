"""The template of a training row's response: of a run, of an export, and what stays as it is."""

import json
import shutil
from pathlib import Path

import pytest

from tests.engine_runs import config_for, finish, lines, write_run
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess
from weak2wise.config import RESPONSES, Response
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import arm_rows

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("reference", "<think> So it is 4. </think> 4"),
        ("think", "<think>\nSo it is 4.\n</think>\n\n4"),
        ("boxed", "<think>\nSo it is 4.\n</think>\n\n\\boxed{4}"),
        ("none", "So it is 4.\n\n4"),
        ("{answer}", "4"),
        ("{trace} The answer is \\boxed{answer}.", "So it is 4. The answer is \\boxed{4}."),
        ("{trace} \\text{so} {{answer}}", "So it is 4. \\text{so} {4}"),
    ],
)
def test_a_template_puts_a_response_together(given: str, made: str) -> None:
    assert Response.parse(given, "params.response").fill(" So it is 4.\n", " 4 ") == made


def test_what_stands_in_a_trace_is_never_a_field() -> None:
    filled = Response.parse("think", "").fill("{answer} {trace} \\boxed{answer}", "{trace}")
    assert filled == "<think>\n{answer} {trace} \\boxed{answer}\n</think>\n\n{trace}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("thinking", "'thinking' has neither {trace} nor {answer}, and is not one of reference, think, boxed, none"),
        ("{reasoning} {answer}", "unknown field {reasoning}; expected {trace} and {answer}"),
        ("", "'' has neither"),
    ],
)
def test_a_template_that_says_nothing_of_a_row_is_refused(
    finished: FinishedRun, tmp_path: Path, given: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"params\.response: "):
        Response.parse(given, "params.response")
    assert command("export", finished.work, "--out", tmp_path / "x", "--response", given) == 2
    assert f"--response: {says}" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", RESPONSES)
def test_an_export_makes_the_responses_anew(finished: FinishedRun, tmp_path: Path, name: str) -> None:
    assert command("export", finished.work, "--out", tmp_path / "golden", "--response", name) == 0
    found = [row["completion"][0]["content"] for row in lines(tmp_path / "golden" / "train.jsonl")]
    template = Response.parse(name, "")
    expected = [template.fill(line["truncated_normal"], line["answer"]) for line in finished.selected]
    assert found == expected != []
    if name == "reference":
        assert found == [row["response"] for row in finished.emitted]
    assert json.dumps(RESPONSES[name]) in (tmp_path / "golden" / "README.md").read_text()


def test_on_the_command_line_a_backslash_and_n_are_a_line_break(finished: FinishedRun, tmp_path: Path) -> None:
    for out, given in {"a": r"<think>\n{trace}\n</think>\n\n{answer}", "b": "think"}.items():
        assert command("export", finished.work, "--out", tmp_path / out, "--response", given) == 0
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()


@pytest.mark.slow
def test_a_runs_own_template_makes_its_training_data_its_arms_and_its_pairs(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, response="boxed", keep="pairs", truncation="rule")
        write_run(tmp_path, config, 8)
        finish(tmp_path)
    work, template = tmp_path / "work", Response.parse("boxed", "")
    selected = lines(work / "selected_truncated.jsonl")
    made = {template.fill(line["truncated_normal"], line["answer"]) for line in selected}
    emitted = lines(tmp_path / "out.jsonl")
    assert emitted
    assert {line[key] for line in emitted for key in ("chosen", "rejected")} == made
    assert [row.response for row in arm_rows(WorkDir(work), "winners", 1)] == [line["chosen"] for line in emitted]
    for response in ([], ["--response", "think"]):
        shutil.rmtree(tmp_path / "pairs", ignore_errors=True)
        assert command("export", work, "--out", tmp_path / "pairs", "--format", "preference", *response) == 0
        for row in lines(tmp_path / "pairs" / "train.jsonl"):
            texts = [row["chosen"][0]["content"], row["rejected"][0]["content"]]
            assert texts[0] != texts[1]
            assert all(text.startswith("<think>\n") for text in texts)
            assert all(("\\boxed{" in text.rpartition("</think>")[2]) == (not response) for text in texts)
