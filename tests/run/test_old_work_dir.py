"""A run that version 171ecf7 left half done goes on with today's code: same bytes at the end, no question asked again.

``tests/data/run-171ecf7`` was made once, by that commit, and is not to be made again: it stands for the work_dirs that
users have. It came about like this.

* The server was ``tests.loopback`` with ``--trace-chars 200``. For the model ``strong-c`` its fault rule
  ``faults.json`` withheld every answer about item 8, the first time and ever after. A second rule, for the first half
  only, answered the first request of ``strong-a`` about item 6 with an HTTP 500. Each answer took 0.1 s.
* The run was started with ``config.yaml`` on ``in.jsonl`` (15 lines; line 4 has no answer, line 6 shares its words with
  ``eval.jsonl``) and got SIGINT when the server had received 80 requests. It ended with exit code 130.
* ``work`` is what it left, without the lock file. The rows then stood as follows: 1 and 8 finished; 2, 3, 6 and 11
  dropped; 4 unreadable; 5 (HTTP 500, with three of its four traces in the journal) and 7 (withheld) failed in
  ``generate``; 9 in the middle of ``stepmask``, with 12 attempts and 11 verdicts of that step in the journal; 10 and 12
  waiting for ``stepmask``; 13 and 14 waiting for ``generate``; 15 not begun.
* ``@FOLDER@`` and ``@BASE_URL@`` in ``config.yaml`` and ``run.log`` stand for what differs from machine to machine.
* 171ecf7 itself then went on with three copies of it to the end, on servers that only had ``faults.json``, with the
  same result each time: ``outputs`` has its files, ``expected.json`` its exit code, its totals, and how many requests
  each server received, by model.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import finish, lines
from tests.loopback import LoopbackProcess
from tests.loopback.faults import read_script

pytestmark = pytest.mark.slow

KEPT = Path(__file__).resolve().parents[1] / "data" / "run-171ecf7"
EXPECTED: dict[str, Any] = json.loads((KEPT / "expected.json").read_text())
OUTPUTS = {path.name: path.read_bytes() for path in (KEPT / "outputs").iterdir()}


@pytest.fixture
def kept_server() -> Iterator[LoopbackProcess]:
    """The server that 171ecf7 went on with."""
    with LoopbackProcess(trace_chars=200, faults=read_script(str(KEPT / "faults.json"))) as server:
        yield server


def copied(folder: Path, base_url: str) -> Path:
    """A copy of the kept run, with its places filled in."""
    copy = folder / "run"
    shutil.copytree(KEPT, copy)
    for path in (copy / "config.yaml", copy / "work" / "run.log"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("@FOLDER@", str(copy)).replace("@BASE_URL@", base_url), encoding="utf-8")
    return copy


def received(server: LoopbackProcess) -> dict[str, int]:
    """How many requests the server has had, by model."""
    return {model: count.received for model, count in server.stats().models.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for indexes, which later versions make."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.suffix != ".index")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_ended_as_then(run: Path) -> None:
    """The output files and the totals are those of 171ecf7."""
    assert len(OUTPUTS) == 6
    for name, content in OUTPUTS.items():
        assert (run / "work" / name).read_bytes() == content, name
    totals = json.loads((run / "work" / "summary.json").read_text())["totals"]
    assert totals == EXPECTED["totals"]
    ended = totals["emitted"] + sum(totals["dropped"].values()) + sum(totals["failed"].values())
    assert totals["rows"] == ended + totals["unfinished"] == len(lines(run / "in.jsonl"))


def test_an_old_half_done_run_ends_with_the_same_bytes_and_asks_nothing_again(
    tmp_path: Path, kept_server: LoopbackProcess
) -> None:
    run = copied(tmp_path, kept_server.base_url)
    kept = contents(run / "work" / "ledger")
    manifest = (run / "work" / "manifest.json").read_bytes()
    finish(run, code=EXPECTED["code"])
    assert received(kept_server) == EXPECTED["requests"]
    assert_ended_as_then(run)
    assert (run / "work" / "manifest.json").read_bytes() == manifest
    grown = contents(run / "work" / "ledger")
    assert grown.keys() == kept.keys()
    assert all(grown[name].startswith(content) for name, content in kept.items()), "a ledger is only appended to"


def test_every_answer_in_an_old_journal_is_found_again(tmp_path: Path, kept_server: LoopbackProcess) -> None:
    """Without most outcomes all rows start over, so that also the answers of finished rows are looked up by their keys.

    ``generate`` stays: it knows how often a row has failed, which decides how many more draws the row gets.
    """
    run = copied(tmp_path, kept_server.base_url)
    for step in ("filter", "stepmask", "select", "sft"):
        shutil.rmtree(run / "work" / "ledger" / step)
    finish(run, code=EXPECTED["code"])
    assert received(kept_server) == EXPECTED["requests"]
    assert_ended_as_then(run)
    journal = lines(run / "work" / "ledger" / "journal" / "00000.jsonl")
    assert len({(answer["row"], answer["key"]) for answer in journal}) == len(journal)
    replayed = json.loads((run / "work" / "summary.json").read_text())["this_start"]["replayed"]
    assert sum(replayed.values()) >= len(lines(KEPT / "work" / "ledger" / "journal" / "00000.jsonl"))


def test_status_report_and_export_read_an_old_half_done_run_and_change_nothing(tmp_path: Path) -> None:
    run = copied(tmp_path, "http://127.0.0.1:9/v1")
    before = contents(run / "work")

    status = json.loads(finish(run, "--json", command="status"))
    assert (status["state"], status["reason"], status["process"]) == ("stopped", "interrupted", None)
    assert status["whole"]
    assert status["totals"] == {
        "rows": 15,
        "emitted": 2,
        "dropped": {"weak_solves": 3, "contaminated/eval.jsonl": 1},
        "failed": {"generate/content_filter": 1, "generate/server_error": 1, "input/bad_field": 1},
        "unfinished": 6,
    }
    assert status["steps"] == {
        "filter": {"done": 9, "dropped": 4, "failed": 0},
        "generate": {"done": 5, "dropped": 0, "failed": 2},
        "stepmask": {"done": 2, "dropped": 0, "failed": 0},
        "select": {"done": 2, "dropped": 0, "failed": 0},
        "sft": {"done": 2, "dropped": 0, "failed": 0},
    }

    finish(run, "--out", str(tmp_path / "report.html"), command="report")
    page = (tmp_path / "report.html").read_text()
    emitted = [row for row in lines(KEPT / "outputs" / "s_prime.jsonl") if row["row"] in {1, 8}]
    assert [row["question"] in page for row in emitted] == [True, True]

    old_layout = ("--format", "prompt_response")
    finish(run, "--out", str(tmp_path / "train.jsonl"), "--provenance", *old_layout, command="export")
    exported = lines(tmp_path / "train.jsonl")
    finetune = {row["prompt"]: row["response"] for row in lines(KEPT / "outputs" / "finetune.jsonl")}
    assert len(exported) == 2
    assert [finetune[row["prompt"]] for row in exported] == [row["response"] for row in exported]
    assert [row["provenance"]["row"] for row in exported] == [1, 8]

    assert contents(run / "work") == before
