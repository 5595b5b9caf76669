"""What ``check`` and ``preview`` make of an endpoint whose calls are sent in batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from tests.engine_runs import ROOT, run_in, save
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_faults import BatchFaults, Rule
from weak2wise.presets import BatchApi, presets

PRICES = {"input": 1.0, "output": 10.0}


@pytest.mark.slow
def test_check_lists_the_batches_and_counts_their_price_and_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackProcess() as server:
        known = structs.replace(presets()["openai"], base_url=server.base_url, batch=BatchApi(factor=0.5))
        config = run_in(tmp_path, server.base_url, 5, outcomes={"length": "retry"})
        for name in ("strong-a", "strong-b"):
            config["model_endpoints"][name]["prices"] = PRICES
        config["model_endpoints"]["strong-a"]["batch"] = {"window": "12h"}
        save(tmp_path, config)
        monkeypatch.setitem(presets(), "openai", known)
        assert command("check", "--config", tmp_path / "config.yaml", "--json") == 0
        assert server.batches().requests == {"list": 1}
    found = json.loads(capsys.readouterr().out)
    said = {finding["about"]: finding["said"] for finding in found["findings"]}
    assert "batches can be listed: 50% of the price, answers within 12h of sending" in said["endpoint strong-a"]
    assert "waits for another batch (params.outcomes: length)" in said["endpoint strong-a"]
    assert "batches" not in said["endpoint strong-b"]
    costs = {part["role"]: part["cost_usd"] for part in found["forecast"]}
    assert costs["strong/strong-a"] == pytest.approx(costs["strong/strong-b"] / 2, rel=0.01)
    (generate,) = (step for step in found["time"]["steps"] if step["step"] == "generate")
    assert (generate["hours"], generate["limit"]) == (12.0, "strong-a: a batch may take 12h")


@pytest.mark.slow
def test_check_finds_an_endpoint_that_has_no_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = BatchFaults(rules=(Rule(at="list", fault="404", times=None),))
    with LoopbackProcess(batches=BatchSettings(faults=faults)) as server:
        config = run_in(tmp_path, server.base_url, 5)
        config["model_endpoints"]["strong-a"]["batch"] = {}
        save(tmp_path, config)
        assert command("check", "--config", tmp_path / "config.yaml", "--json") == 1
    (bad,) = (one for one in json.loads(capsys.readouterr().out)["findings"] if one["verdict"] == "bad")
    assert "its batches cannot be listed" in bad["said"]


@pytest.mark.slow
def test_preview_does_not_wait_for_a_batch(tmp_path: Path) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=3600.0)) as server:
        config = run_in(tmp_path, server.base_url, 5)
        config["model_endpoints"]["strong-a"]["batch"] = {}
        full = [sys.executable, "-m", "weak2wise.engine", "preview", "--config", str(save(tmp_path, config)), "-n", "1"]
        done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.batches().requests == {}
