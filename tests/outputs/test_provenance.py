"""After ``--resume force`` ledger, manifest, card, report and provenance say which settings made which rows."""

import asyncio
import json
import shutil
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.engine_runs import config_for, finish, lines, write_run
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess, make_question
from weak2wise.config.shape import default_shape
from weak2wise.llm.journal import Answer, Journal
from weak2wise.llm.model import Completion
from weak2wise.outputs.work_dir import WorkDir
from workers.method import METHOD

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def settings_in(card: Path) -> dict[str, object]:
    """``params`` of the settings that a card shows."""
    params: dict[str, object] = yaml.safe_load(card.read_text().split("```yaml")[1].split("```")[0])["params"]
    return params


def table_in(card: Path) -> list[list[str]]:
    """The rows of a card's table of settings that changed."""
    section = card.read_text().partition("## Settings that changed")[2].partition("\n## ")[0]
    return [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| `")]


def add_questions(folder: Path, first: int, last: int) -> None:
    with (folder / "in.jsonl").open("a") as file:
        for number in range(first, last):
            question, answer = make_question(number)
            file.write(json.dumps({"id": f"q{number}", "question": question, "answer": answer}) + "\n")


@pytest.mark.slow
def test_rows_keep_the_settings_that_made_them_through_every_output(tmp_path: Path) -> None:
    work, golden = tmp_path / "work", tmp_path / "golden"
    with LoopbackProcess(solve=0.0) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 4)
        finish(tmp_path)
        said = finish(tmp_path, "--set", "params.n_mask=3", "--resume", "force")
        assert "key=params.n_mask effect=0 questions get the new value" in said
        assert command("export", work, "--out", golden, "--provenance") == 0
        assert settings_in(golden / "README.md")["n_mask"] == 2, "no row was made with 3"
        assert table_in(golden / "README.md") == [
            ["`params.n_mask`", "stepmask", "2", "4"],
            ["`params.n_mask`", "stepmask", "3 (now)", "0"],
        ]
        assert {line["provenance"]["settings"] for line in lines(golden / "train.jsonl")} == {
            "params.n_mask=2 (stepmask)"
        }

        add_questions(tmp_path, 4, 6)
        said = finish(tmp_path, "--set", "params.n_mask=4", "--set", "params.trunc_temp=0.2", "--resume", "force")
        assert "key=params.n_mask effect=2 questions get the new value" in said
        assert "key=params.trunc_temp effect=2 questions get the new value" in said

    ledger = lines(work / "ledger" / "stepmask" / "00000.jsonl")
    assert [(line["row"], line.get("settings")) for line in sorted(ledger, key=lambda line: line["row"])] == [
        *((row, None) for row in range(1, 5)),
        *((row, 2) for row in (5, 6)),
    ]
    assert command("export", work, "--out", golden, "--provenance") == 0
    card = (golden / "README.md").read_text()
    assert "The rows are a mixture" in card
    assert table_in(golden / "README.md") == [
        ["`params.n_mask`", "stepmask", "2", "4"],
        ["`params.n_mask`", "stepmask", "4 (now)", "2"],
        ["`params.trunc_temp`", "select", "0.1", "4"],
        ["`params.trunc_temp`", "select", "0.2 (now)", "2"],
    ]
    of_rows = {line["provenance"]["row"]: line["provenance"]["settings"] for line in lines(golden / "train.jsonl")}
    assert of_rows[1] == "params.n_mask=2 (stepmask); params.trunc_temp=0.1 (select)"
    assert of_rows[6] == "params.n_mask=4 (stepmask); params.trunc_temp=0.2 (select)"
    assert command("report", work, "--out", tmp_path / "report.html") == 0
    page = (tmp_path / "report.html").read_text()
    assert "<h2>Settings that changed</h2>" in page
    assert ">4 (now)</td>" in page


@pytest.mark.slow
def test_a_card_of_some_rows_counts_those_alone(tmp_path: Path) -> None:
    with LoopbackProcess(solve=0.0) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 3)
        finish(tmp_path)
        add_questions(tmp_path, 3, 6)
        strong = [f"--set=model_endpoints.{name}.model_id=strong-c" for name in ("strong-a", "strong-b")]
        finish(tmp_path, *strong, "--resume", "force")
    assert command("export", tmp_path / "work", "--out", tmp_path / "golden", "--top", 2, "--provenance") == 0
    rows = [line["provenance"] for line in lines(tmp_path / "golden" / "train.jsonl")]
    counted = sum(int(row[3]) for row in table_in(tmp_path / "golden" / "README.md") if "strong-a" in row[0])
    assert counted == len(rows) == 2
    assert command("export", tmp_path / "work", "--out", tmp_path / "all", "--provenance") == 0
    for provenance in (line["provenance"] for line in lines(tmp_path / "all" / "train.jsonl")):
        expected = {"strong-a", "strong-a-two"} if provenance["row"] <= 3 else {"strong-c"}
        assert provenance["strong_model"] in expected, "the model that wrote the trace, not the one configured now"


@pytest.mark.slow
def test_a_lost_manifest_leaves_rows_of_settings_that_nobody_knows(tmp_path: Path) -> None:
    with LoopbackProcess(solve=0.0) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 2)
        finish(tmp_path)
        (tmp_path / "work" / "manifest.json").unlink()
        finish(tmp_path, "--set", "params.n_mask=3", "--resume", "force")
    assert command("export", tmp_path / "work", "--out", tmp_path / "golden", "--provenance") == 0
    assert (
        "| `all settings` | stepmask | not known: the manifest was lost | 2 |"
        in (tmp_path / "golden" / "README.md").read_text()
    )
    assert "not known" in lines(tmp_path / "golden" / "train.jsonl")[0]["provenance"]["settings"]


@pytest.mark.slow
def test_every_setting_that_shapes_results_belongs_to_a_step(tmp_path: Path) -> None:
    """One that no step names would count for all of them, and no run could say that nothing is left to get it."""
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 1)
        finish(tmp_path)
    shape = WorkDir(tmp_path / "work").manifest.shape
    assert msgspec.json.decode(msgspec.json.encode(default_shape())).keys() <= shape.keys()
    for key in shape:
        steps = [step.name for step in METHOD if step.depends_on(key, [shape])]
        assert 0 < len(steps) < len(METHOD), key


def test_an_answer_that_was_paid_for_and_lost_costs_its_row_money_and_is_no_verdict(
    finished: FinishedRun, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(finished.work, work)

    def exported() -> dict[int, tuple[int, float]]:
        """By row: verdicts by the judge LLM and US dollars."""
        assert command("export", work, "--out", tmp_path / "train.jsonl", "--provenance") == 0
        found = [line["provenance"] for line in lines(tmp_path / "train.jsonl")]
        return {one["row"]: (one["judge_llm_calls"], one["cost_usd"]) for one in found}

    async def pay(row: int, key: str) -> None:
        journal = Journal(work / "ledger", max_bytes=1 << 30, fsync_seconds=1)
        journal.open(lambda _role: bytes([1]) * 1000)
        await journal.record(Answer(row, key, "judge", "judge", Completion(text="No"), cost_usd=0.25))
        await journal.close()

    before = exported()
    lost, judged, *_ = before
    asyncio.run(pay(lost, ""))
    asyncio.run(pay(judged, "0123456789abcdef" * 2))
    calls, cost = before[lost]
    assert exported()[lost] == pytest.approx((calls, cost + 0.25))
    calls, cost = before[judged]
    assert exported()[judged] == pytest.approx((calls + 1, cost + 0.25))
