"""A whole run that waits for off-peak hours: what it shows, how it stops, and that prices shape no result."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import finish, lines, run_in, save, start
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from weak2wise.config import Config, load_config
from weak2wise.errors import ConfigError


def priced(config: dict[str, Any], peak: str) -> None:
    prices = {"input": 1.0, "output": 10.0, "off_peak": {"factor": 0.5, "peak": [peak]}}
    for name in ("strong-a", "strong-b"):
        config["model_endpoints"][name]["prices"] = prices
    config["engine"] = {"wait_for_off_peak": True}


def hours_from(begin: datetime, end: datetime) -> str:
    return f"{begin:%H:%M}-{end:%H:%M}"


@pytest.mark.slow
def test_a_run_in_peak_hours_filters_and_waits_and_goes_on_off_peak_at_the_lower_price(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    config = run_in(tmp_path, server.base_url, 8, n_mask=2)
    priced(config, hours_from(now - timedelta(hours=1), now + timedelta(hours=2)))
    save(tmp_path, config)
    before = {name: model.answered for name, model in server.stats().models.items()}
    process = start(tmp_path)
    try:
        log = tmp_path / "work" / "run.log"
        while not (log.exists() and "strong-a_held" in log.read_text()):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        assert command("status", tmp_path / "work", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert set(found["held"]) == {"strong-a", "strong-b"}
        assert found["steps"]["filter"]["done"] > 0
        assert command("status", tmp_path / "work") == 0
        assert "strong-a: held for off-peak prices: " in capsys.readouterr().out
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130, said
    after = {name: model.answered for name, model in server.stats().models.items()}
    assert after["weak"] > before.get("weak", 0)
    assert after.get("strong-a", 0) == before.get("strong-a", 0)
    priced(config, hours_from(now - timedelta(hours=3), now - timedelta(hours=2)))
    save(tmp_path, config)
    said = finish(tmp_path)  # prices are no part of the run's shape, or it would be refused
    answers = [answer for shard in tmp_path.glob("work/ledger/journal/*") for answer in lines(shard)]
    strong = [answer for answer in answers if answer["role"].startswith("strong/")]
    assert strong
    for answer in strong:
        usage = answer["completion"]["usage"]
        assert usage["price_factor"] == 0.5
        full = (usage["prompt_tokens"] + 10 * usage["completion_tokens"]) / 1e6
        assert answer["cost_usd"] == pytest.approx(full / 2)
    asked = {name: model.answered for name, model in server.stats().models.items()}
    priced(config, hours_from(now - timedelta(hours=5), now - timedelta(hours=4)))
    save(tmp_path, config)
    finish(tmp_path)
    assert {name: model.answered for name, model in server.stats().models.items()} == asked


def test_waiting_for_off_peak_hours_that_no_strong_model_has_is_refused(tmp_path: Path) -> None:
    config = run_in(tmp_path, "http://127.0.0.1:9/v1")
    config["engine"] = {"wait_for_off_peak": True}
    with pytest.raises(ConfigError, match=r"engine\.wait_for_off_peak: no strong model has off-peak hours"):
        load_config(save(tmp_path, config))


def test_the_forecast_counts_the_hours(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the week is off-peak, at half the price: three quarters on average, half for calls that wait."""
    config = run_in(tmp_path, server.base_url, 5)
    priced(config, "00:00-12:00")
    config["model_endpoints"]["strong-a"]["max_requests_per_minute"] = 1

    def checked(**engine: bool) -> tuple[Any, float]:
        config["engine"] = engine
        assert command("check", "--json", "--config", save(tmp_path, config)) == 0
        found = json.loads(capsys.readouterr().out)
        part = next(part for part in found["forecast"] if part["role"] == "strong/strong-a")
        return found | {"part": part}, (part["prompt_tokens"] + 10 * part["completion_tokens"]) / 1e6

    spread, full = checked()
    assert spread["part"]["cost_usd"] == pytest.approx(0.75 * full)
    assert any("strong-a are spread over the week, of which 50% is off-peak" in said for said in spread["assumed"])
    waits, full = checked(wait_for_off_peak=True)
    assert waits["part"]["cost_usd"] == pytest.approx(0.5 * full)
    assert waits["part"]["most_usd"] == spread["part"]["most_usd"]
    assert waits["time"]["whole"]["hours"] == pytest.approx(2 * spread["time"]["whole"]["hours"])


@pytest.mark.slow
def test_a_preview_does_not_wait(tmp_path: Path, server: LoopbackProcess) -> None:
    now = datetime.now(UTC)
    config = run_in(tmp_path, server.base_url, 2, n_mask=2)
    priced(config, hours_from(now - timedelta(hours=1), now + timedelta(hours=2)))
    save(tmp_path, config)
    assert "Cost of 1 question:" in finish(tmp_path, "-n", "1", command="preview")
    assert isinstance(load_config(tmp_path / "config.yaml"), Config)
