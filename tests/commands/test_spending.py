"""What a run has spent and what is still to come: ``status`` by its files, ``preview`` from a few questions."""

import json
import signal
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.engine_runs import finish, lines, run_in, save, start
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess
from weak2wise.commands.preview import show_costs
from weak2wise.outputs.spending import spending
from weak2wise.outputs.work_dir import WorkDir

PRICES = {"input": 2.0, "output": 8.0}


def status(work: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert command("status", work, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_status_says_what_each_role_has_spent_and_where_the_output_is(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = status(finished.work, capsys)
    summary = json.loads((finished.work / "summary.json").read_text())
    order = lambda use: (use["role"], use["endpoint"])  # noqa: E731
    assert sorted(found["spending"]["roles"], key=order) == sorted(summary["roles"], key=order)
    assert found["output"] == str(finished.folder / "out.jsonl")
    monkeypatch.setenv("COLUMNS", "80")
    assert command("status", finished.work) == 0
    shown = capsys.readouterr().out
    usd = sum(use["cost_usd"] for use in summary["roles"])
    assert f"spent: {usd:.2f} US dollars" in shown or f"spent: {usd:.4f} US dollars" in shown
    assert shown.splitlines()[-1] == f"output: {finished.folder / 'out.jsonl'}"


@pytest.mark.slow
def test_what_is_still_to_come_is_what_the_rest_of_the_run_then_spends(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """First too few questions to say, then half of them: the forecast is near what the other half costs."""
    config = run_in(tmp_path, server.base_url, 160, n_mask=3)
    for name in ("strong-a", "strong-b", "weak"):
        config["model_endpoints"][name]["prices"] = PRICES
    save(tmp_path, config)
    finish(tmp_path, "--limit", "10")
    early = status(tmp_path / "work", capsys)
    assert early["spending"]["roles"]
    finish(tmp_path, "--limit", "80")
    half = WorkDir(tmp_path / "work")
    half.history.rows = 160  # a run over a part says so; one that was stopped half-way knows them all
    told = spending(half)
    assert told.to_come is not None
    finish(tmp_path)
    after = status(tmp_path / "work", capsys)["spending"]
    assert after["to_come"] == []
    spent_then = sum(use["cost_usd"] for use in after["roles"]) - told.cost_usd
    assert sum(part.cost_usd for part in told.to_come) == pytest.approx(spent_then, rel=0.25)
    calls = {use["role"]: use["calls"] for use in after["roles"]}
    before = {use.role: use.calls for use in told.roles}
    for part in told.to_come:
        assert part.calls == pytest.approx(calls[part.role] - before[part.role], rel=0.35)


@pytest.mark.slow
def test_status_of_a_run_that_goes_on_says_what_it_has_spent_and_that_more_is_to_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackProcess(latency=0.05) as server:
        config = run_in(tmp_path, server.base_url, 300)
        config["model_endpoints"]["strong-a"]["prices"] = PRICES
        save(tmp_path, config)
        process = start(tmp_path)
        try:
            while not any(shard.stat().st_size for shard in (tmp_path / "work").glob("ledger/generate/*.jsonl")):
                time.sleep(0.02)
            assert command("status", tmp_path / "work") == 0
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    shown = capsys.readouterr().out
    assert "running (process" in shown
    assert "still to come" in shown
    assert f"output: {tmp_path / 'out.jsonl'} (written when the run has finished)" in shown
    row = next(line.split() for line in shown.splitlines() if line.startswith("strong/strong-a"))
    assert int(row[1]) > 0
    assert float(row[-2].replace("k", "").replace(",", "")) > 0


def test_preview_says_what_its_questions_cost_and_what_all_would_as_a_range(finished: FinishedRun) -> None:
    console = Console(file=StringIO(), width=100)
    show_costs(WorkDir(finished.work), 1000, console)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    costs: dict[int, float] = {}
    for shard in finished.work.glob("ledger/journal/*"):
        for answer in lines(shard):
            costs[answer["row"]] = costs.get(answer["row"], 0.0) + answer.get("cost_usd", 0.0)
    least, most, mean = min(costs.values()), max(costs.values()), sum(costs.values()) / len(costs)
    assert f"Cost of {len(costs)} questions:" in said
    assert f"about {1000 * mean:,.2f} US dollars, from {1000 * least:,.2f} (if" in said
    assert f"to {1000 * most:,.2f} (like the dearest)" in said


@pytest.mark.slow
def test_preview_without_prices_says_the_tokens(tmp_path: Path, server: LoopbackProcess) -> None:
    run_in(tmp_path, server.base_url, 5, n_mask=2)
    said = " ".join(finish(tmp_path, "-n", "1", command="preview").split())
    assert "what they cost is not known (model_endpoints.NAME.prices)" in said
    assert "All 5 questions of the input, at this rate: about" in said
    assert "preview -n 10 says more" in said
