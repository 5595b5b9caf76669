"""How long the rest of a run takes: by configured limits, the small question, and what the last run has shown."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import config_for, lines, run_in, save, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from weak2wise.check.forecast import Source, forecast
from weak2wise.check.hours import Taken, Timetable, timetable
from weak2wise.config import load_config
from weak2wise.outputs.history import Speed, read_history

UNKNOWN = Speed({}, {})
QUESTIONS = 100


def table(folder: Path, taken: dict[str, Taken], speed: Speed = UNKNOWN, **endpoints: dict[str, Any]) -> Timetable:
    """Of a run of so many questions, with these keys for endpoints."""
    config = config_for(folder, "http://127.0.0.1:9/v1")
    for name, keys in endpoints.items():
        config["model_endpoints"][name.replace("_", "-")] |= keys
    write_run(folder, config, 1)
    loaded = load_config(folder / "config.yaml")
    source = Source(good=QUESTIONS, characters=100 * QUESTIONS)
    source.pending["filter"] = QUESTIONS
    return timetable(loaded, forecast(loaded, source, None), taken, speed)


def hours(found: Timetable) -> dict[str, float | None]:
    return {step.step: step.hours for step in found.steps}


def test_a_step_takes_as_long_as_the_limits_and_the_length_of_its_answers_let_it(tmp_path: Path) -> None:
    """Its answers are 4,000 tokens long; the small question took 2 s for 400, so each takes 20 s, ten at once."""
    found = table(tmp_path, {"strong-a": Taken(2.0, 400)}, strong_a={"max_concurrent_requests": 10})
    assert hours(found)["generate"] == pytest.approx(QUESTIONS * 20 / 10 / 3600)
    generate = next(step for step in found.steps if step.step == "generate")
    assert (generate.limit, generate.unknown) == ("strong-a: max_concurrent_requests 10", ["strong-b"])


@pytest.mark.parametrize(
    ("limits", "seconds", "says"),
    [
        ({"max_requests_per_minute": 2}, 60 * QUESTIONS / 2, "strong-a: max_requests_per_minute 2"),
        ({"max_tokens_per_minute": 1000}, 60 * QUESTIONS * 4125 / 1000, "strong-a: max_tokens_per_minute 1,000"),
    ],
)
def test_a_configured_rate_sets_the_pace_where_it_is_the_slowest(
    tmp_path: Path, limits: dict[str, Any], seconds: float, says: str
) -> None:
    found = table(tmp_path, {"strong-a": Taken(0.1, 4000)}, strong_a=limits | {"max_concurrent_requests": 99})
    generate = next(step for step in found.steps if step.step == "generate")
    assert generate.limit == says
    assert (generate.hours or 0) * 3600 == pytest.approx(seconds)


def test_endpoints_that_share_limits_take_turns(tmp_path: Path) -> None:
    shared = {"max_requests_per_minute": 10, "limit_group": "key"}
    apart = table(tmp_path, {}, strong_a={"max_requests_per_minute": 10}, strong_b={"max_requests_per_minute": 10})
    together = table(tmp_path, {}, strong_a=shared, strong_b=shared)
    assert hours(together)["generate"] == pytest.approx(2 * (hours(apart)["generate"] or 0))


def test_an_endpoint_that_serves_several_steps_is_busy_for_all_of_them(tmp_path: Path) -> None:
    found = table(tmp_path, {}, weak={"max_requests_per_minute": 10})
    each = hours(found)
    assert found.whole.hours == pytest.approx((each["filter"] or 0) + (each["stepmask"] or 0))
    assert found.whole.unknown == ["weak", "judge", "strong-a", "strong-b", "trunc"]


def test_the_pace_of_the_last_run_counts_more_than_the_small_question(tmp_path: Path) -> None:
    speed = Speed({"strong-a": 50.0}, {"strong-b": 2000.0})
    found = table(tmp_path, {"strong-a": Taken(9.0, 10)}, speed)
    generate = next(step for step in found.steps if step.step == "generate")
    by_rate, by_tokens = 60 * QUESTIONS / 50, QUESTIONS * 4000 / 2000
    assert (generate.hours or 0) * 3600 == pytest.approx(max(by_rate, by_tokens))
    assert (generate.limit, generate.unknown) == ("strong-b: as fast as in the last run", [])


def test_nothing_is_said_of_a_pace_that_nobody_has_seen(tmp_path: Path) -> None:
    found = table(tmp_path, {})
    assert set(hours(found).values()) == {None}
    assert found.whole.hours is None
    assert all(step.unknown for step in found.steps)


def test_the_pace_is_the_best_one_of_the_last_start(tmp_path: Path) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)

    def event(name: str, seconds: int, **fields: Any) -> str:
        return json.dumps({"event": name, "timestamp": (began + timedelta(seconds=seconds)).isoformat(), **fields})

    progress: dict[str, Any] = {"sft": "1+1", "dropped": 0, "failed": 0, "per_minute": 4.0}
    log = [
        event("run.started", 0, steps=["sft"]),
        event("progress", 10, **progress, strong_per_minute=900.0),
        event("run.started", 20, steps=["sft"]),
        event("progress", 30, **progress, strong_per_minute=100.0, weak_tokens_per_second=10.0),
        event("progress", 40, **progress, strong_per_minute=120.0, weak_tokens_per_second=0.0),
        event("progress", 50, **progress, strong_per_minute=3.0),
    ]
    (tmp_path / "run.log").write_text("\n".join(log) + "\n")
    assert read_history(tmp_path / "run.log").speed() == Speed({"strong": 120.0}, {"weak": 10.0})


@pytest.mark.slow
def test_check_tells_the_time_and_puts_the_verdict_and_the_total_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackProcess() as server:
        config = run_in(tmp_path, server.base_url, 5)
        config["model_endpoints"]["strong-a"] |= {
            "prices": {"input": 1.0, "output": 10.0},
            "max_requests_per_minute": 1,
        }
        monkeypatch.setenv("COLUMNS", "80")
        assert command("check", "--config", save(tmp_path, config)) == 0
        shown = capsys.readouterr().out
        assert command("check", "--config", tmp_path / "config.yaml", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["time"]["whole"]["hours"] == pytest.approx(5 / 60)
    assert found["time"]["whole"]["limit"] == "strong-a: max_requests_per_minute 1"
    assert max(map(len, shown.splitlines()[-25:])) <= 80
    forecast = [" ".join(line.split()) for line in shown.partition("\n\n")[2].splitlines()]
    cost, most = (f"{found[key]:.2f}" for key in ("cost_usd", "most_usd"))
    assert f"Ready to run 5 questions: about {cost} US dollars, at most {most}; about 5 minutes." in " ".join(
        forecast[:3]
    )
    rows = [line for line in forecast if line.startswith(("role", "all", "strong/strong-a", "weak"))]
    assert rows[0] == "role calls tokens in tokens out US dollars at most"
    assert rows[1].startswith("all ") and rows[1].endswith(f"{cost} {most}")
    assert rows[2].startswith("weak ") and rows[2].endswith(" - -")
    assert rows[3].startswith("strong/strong-a 5 ")
    assert "all about 5 minutes strong-a: max_requests_per_minute 1" in forecast
    assert lines(tmp_path / "in.jsonl")
