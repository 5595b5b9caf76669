"""The commands around a run, as a user calls them: what they find, and that mistakes are told in a line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import ROOT, config_for, finish, lines, start, write_run
from tests.finished_run import FinishedRun, command
from tests.loopback import Fault, LoopbackProcess, Match, Mix
from weak2wise.commands.init import PROVIDERS, Provider
from weak2wise.commands.say import command_line
from weak2wise.commands.status import seconds_left
from weak2wise.config import load_config
from weak2wise.config.schema import VllmEndpoint
from weak2wise.ledger.files import locked
from weak2wise.llm.footprint import Footprint, footprint
from weak2wise.outputs.history import read_history
from weak2wise.outputs.memory import cached, fit, gpus


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackProcess]:
    with LoopbackProcess() as running:
        yield running


def run_in(folder: Path, base_url: str, questions: int = 5, **params: Any) -> dict[str, Any]:
    config = config_for(folder, base_url, **params)
    write_run(folder, config, questions)
    return config


def save(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def test_status_of_a_finished_run_is_its_summary(finished: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("status", finished.work, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((finished.work / "summary.json").read_text())
    assert (found["state"], found["process"], found["whole"]) == ("finished", None, True)
    assert found["totals"] == summary["totals"]
    assert found["steps"]["sft"] == {"done": len(finished.emitted), "dropped": 0, "failed": 0}
    assert command("status", "--config", finished.folder / "config.yaml") == 0
    assert f"{len(finished.emitted):,} emitted" in capsys.readouterr().out


def test_status_follows_a_run_while_it_goes_on_and_after_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files are only read: the run under the eyes of ``status`` ends as any other."""
    with LoopbackProcess(latency=0.05) as server:
        run_in(tmp_path, server.base_url, 300)
        process = start(tmp_path)
        try:
            while not any(shard.stat().st_size for shard in (tmp_path / "work").glob("ledger/filter/*.jsonl")):
                time.sleep(0.02)
            assert command("status", tmp_path / "work", "--json") == 0
            found = json.loads(capsys.readouterr().out)
            assert (found["state"], found["process"]) == ("running", process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
        assert process.returncode == 130, said
    assert command("status", tmp_path / "work", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    totals = found["totals"]
    assert (found["state"], found["process"], totals["rows"]) == ("stopped", None, 300)
    assert totals["unfinished"] > 0
    assert totals["rows"] == totals["emitted"] + sum(totals["dropped"].values()) + totals["unfinished"]
    assert command("status", tmp_path / "work") == 0
    assert "python -m weak2wise.engine" in capsys.readouterr().err


def test_the_rate_is_that_of_the_last_start_and_damaged_log_lines_are_passed_over(tmp_path: Path) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)

    def event(name: str, seconds: int, **fields: Any) -> str:
        return json.dumps({"event": name, "timestamp": (began + timedelta(seconds=seconds)).isoformat(), **fields})

    log = [
        event("run.started", 0, steps=["filter", "sft"], input="in.jsonl"),
        event("progress", 10, filter="500+1", sft="400+1", dropped=90, failed=0),
        event("run.stopped", 15, reason="HTTP 401"),
        event("run.started", 100, steps=["filter", "sft"], input="in.jsonl"),
        event("progress", 110, filter="9+1", sft="5+1", dropped=1, failed=0),
        '{"event": "progress", "timestamp": "2026-01-01T00:0',
        event("progress", 115, filter="odd"),
        event("progress", 130, filter="99+1", sft="20+1", dropped=5, failed=1),
    ]
    (tmp_path / "run.log").write_text("\n".join(log) + "\n")
    history = read_history(tmp_path / "run.log")
    assert history.per_minute() == pytest.approx({"filter": 60 * (104 - 10) / 20, "sft": 60 * (20 - 5) / 20})
    assert (history.stopped, history.finished, history.last) == (None, False, began + timedelta(seconds=130))


def test_what_is_left_is_told_by_the_step_that_needs_longest() -> None:
    """Half of the questions are dropped, so 50 will reach the slow step, which has done 10 and does 20 a minute."""
    counts = {
        "filter": {"done": 40, "dropped": 40, "failed": 0},
        "stepmask": {"done": 10, "dropped": 0, "failed": 0},
        "sft": {"done": 10, "dropped": 0, "failed": 0},
    }
    rates = {"filter": 80.0, "stepmask": 20.0, "sft": 40.0}
    assert seconds_left(100, counts, rates) == pytest.approx(60 * 40 / 20)
    assert seconds_left(100, counts, rates | {"stepmask": 0.0}) is None


@pytest.mark.parametrize("provider", list(PROVIDERS))
def test_init_writes_a_config_that_loads_and_never_writes_over_one(
    tmp_path: Path, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    assert command("init", provider, "--out", path) == 0
    key = PROVIDERS[provider].key
    config = load_config(path, env={key: "k"} if key else {})
    assert config.endpoints[config.models.mstrong[0]].model == PROVIDERS[provider].strong
    assert (key or "check") in capsys.readouterr().err
    before = path.read_text()
    assert command("init", provider, "--out", path) == 2
    assert "exists" in capsys.readouterr().err
    assert path.read_text() == before


def test_the_readmes_way_works_in_a_fresh_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clone has a config.yaml, the documented example; every command is taken from the README as it stands."""
    steps = [line.partition("#")[0].split() for line in (ROOT / "README.md").read_text().splitlines()]
    init, check = (next(step for step in steps if step[:2] == ["weak2wise", name]) for name in ("init", "check"))
    shutil.copy(ROOT / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k")
    assert command(*init[1:]) == 0
    said = capsys.readouterr().err
    assert said.rstrip().endswith(" ".join(check))
    assert command(*check[1:], "--set", "model_endpoints.weak={model_id: m, base_url: 'http://a.example'}") == 2
    assert "data/questions.jsonl: no such file (dataset.input_path)" in capsys.readouterr().err


def test_init_of_nothing_names_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("init") == 2
    assert ", ".join(PROVIDERS) in capsys.readouterr().err


def test_check_asks_every_endpoint_once_and_counts_what_a_run_will_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackProcess() as server:
        config = run_in(tmp_path, server.base_url, 5, samples_per_model=2, n_mask=3)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 1.0, "output": 10.0}
        save(tmp_path, config)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write("no JSON\n")
        assert command("check", "--config", tmp_path / "config.yaml", "--json") == 0
        asked = {name: model.answered for name, model in server.stats().models.items()}
    assert set(asked.values()) == {1}
    assert len(asked) == 5
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert "5 questions; 1 row is no question: line 6" in found["findings"][1]["said"]
    calls = {part["role"]: part["calls"] for part in found["forecast"]}
    traces = 5 * 2 * 2
    assert calls == {
        "weak": 5 + traces * 3,
        "strong/strong-a": traces // 2,
        "strong/strong-b": traces // 2,
        "judge": 5 + traces * 3,
        "truncation": 5,
    }
    priced = next(part for part in found["forecast"] if part["role"] == "strong/strong-a")
    tokens = priced["prompt_tokens"] + 10 * priced["completion_tokens"]
    assert priced["cost_usd"] == pytest.approx(tokens / 1e6, rel=1e-3)
    assert found["cost_usd"] == pytest.approx(priced["cost_usd"], abs=0.005)
    assert priced["most_tokens"] == priced["calls"] * 8192
    assert found["most_usd"] == pytest.approx((priced["prompt_tokens"] + 10 * 10 * 8192) / 1e6, abs=0.005)
    assert not (tmp_path / "work" / "ledger").exists()


def test_check_goes_by_what_the_work_dir_has_spent_so_far(
    finished: FinishedRun, server: LoopbackProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    for endpoint in config["model_endpoints"].values():
        endpoint["base_url"] = server.base_url
    assert command("check", "--config", save(tmp_path, config), "--json") == 0
    weak = next(part for part in json.loads(capsys.readouterr().out)["forecast"] if part["role"] == "weak")
    journal = [answer for shard in finished.work.glob("ledger/journal/*") for answer in lines(shard)]
    spent = [a["completion"]["usage"]["completion_tokens"] for a in journal if a["role"] == "weak"]
    assert weak["completion_tokens"] == pytest.approx(weak["calls"] * sum(spent) / len(spent), rel=1e-3)


def test_no_answer_is_expected_to_be_longer_than_it_may_be(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in(tmp_path, server.base_url)
    few = "--set=model_endpoints.strong-a.max_tokens=100"
    assert command("check", "--config", tmp_path / "config.yaml", "--json", few) == 0
    strong = {part["role"]: part for part in json.loads(capsys.readouterr().out)["forecast"]}["strong/strong-a"]
    assert strong["completion_tokens"] == strong["most_tokens"] == 100 * strong["calls"]


def test_check_waits_no_longer_than_a_minute_and_tells_what_it_knows_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weak2wise.commands.findings.ASK_SECONDS", 1.0)
    with LoopbackProcess(faults=(Fault("hang_before_headers", Match(model="judge"), times=None),)) as server:
        run_in(tmp_path, server.base_url)
        assert command("check", "--config", tmp_path / "config.yaml") == 1
    told = [line for line in capsys.readouterr().out.splitlines() if " endpoint " in line]
    assert len(told) == 5
    assert told[-1] == "✗ endpoint judge: no answer to a tiny question within 1 s; a run would wait 1800 s for each"


def test_check_as_json_prints_nothing_else_on_standard_output(tmp_path: Path) -> None:
    with LoopbackProcess(faults=Mix(mix={"429": 1.0})) as server:
        run_in(tmp_path, server.base_url)
        full = [sys.executable, "-m", "weak2wise.engine", "check", "--json", "--config", str(tmp_path / "config.yaml")]
        done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]


def test_check_finds_what_a_run_would_refuse_and_writes_nothing(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other settings, another engine, a ledger whose manifest is gone."""
    config = run_in(tmp_path, server.base_url, 2, n_mask=2)
    config["dataset"]["finetune_out"] = str(tmp_path / "made" / "out.jsonl")
    save(tmp_path, config)

    def checked(*arguments: str) -> tuple[str, str]:
        command("check", "--config", tmp_path / "config.yaml", "--json", *arguments)
        findings = json.loads(capsys.readouterr().out)["findings"]
        found = next(finding for finding in findings if finding["about"] == "work_dir")
        return found["verdict"], found["said"]

    assert checked()[0] == "good"
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "made").exists()
    finish(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert checked()[0] == "good"
    verdict, said = checked("--set", "params.beta=0.9")
    assert (verdict, "params.beta" in said) == ("bad", True)
    assert checked("--set", "params.beta=0.9", "--resume", "force")[0] == "good"
    with locked(tmp_path / "work"):
        verdict, said = checked()
    assert (verdict, f"in use by another engine (process {os.getpid()})" in said) == ("bad", True)
    before[tmp_path / "work" / "lock"] = (tmp_path / "work" / "lock").stat().st_mtime_ns
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    (tmp_path / "work" / "manifest.json").unlink()
    verdict, said = checked()
    assert (verdict, "Restore it" in said) == ("bad", True)


@pytest.mark.parametrize(
    ("fault", "says"), [("401", "HTTP 401"), ("404", "HTTP 404"), ("400", "HTTP 400"), ("500", "HTTP 500")]
)
def test_check_says_which_endpoint_does_not_answer_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Any, says: str
) -> None:
    with LoopbackProcess(faults=Mix(mix={fault: 1.0})) as server:
        run_in(tmp_path, server.base_url)
        assert command("check", "--config", tmp_path / "config.yaml") == 1
    said = capsys.readouterr().out.replace("\n", " ")
    assert "✗ endpoint judge" in said
    assert says in said
    assert "Not ready" in said


def test_check_looks_whether_a_model_folder_holds_a_model(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_in(tmp_path, server.base_url)
    (tmp_path / "installed" / "vllm").mkdir(parents=True)
    (tmp_path / "installed" / "vllm" / "__init__.py").touch()  # it is only looked for
    monkeypatch.syspath_prepend(tmp_path / "installed")
    config["model_endpoints"]["weak"] = {"type": "vllm", "model_name": str(tmp_path / "model")}
    assert command("check", "--config", save(tmp_path, config)) == 1
    assert "no model there, no config.json" in capsys.readouterr().out.replace("\n", " ")
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).write_text("{}")
    assert command("check", "--config", tmp_path / "config.yaml") == 0


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "/nowhere"], "holds no run"),
        (["status", "--config", "/nowhere.yaml"], "no such file; pass --config FILE"),
        (["status", "/dev/null/work"], "/dev/null/work/manifest.json: cannot be read: Not a directory"),
        (
            ["check", "--set", "dataset.work_dir=/dev/null/work"],
            "cannot be written: Not a directory (dataset.work_dir)",
        ),
        (["report", "/nowhere"], "holds no run"),
        (["check", "--config", "/nowhere.yaml"], "no such file; pass --config FILE"),
        (["check", "--set", "params.n_mask=0"], "params.n_mask: expected int >= 1"),
        (["preview", "--set", "dataset.input_path=/nowhere.jsonl"], "dataset.input_path"),
    ],
)
def test_mistakes_are_told_in_a_line_with_exit_2(
    finished: FinishedRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(finished.folder)
    assert command(*arguments) == 2
    told = capsys.readouterr().err
    assert says in told
    assert len(told.strip().splitlines()) == 1


def test_a_report_of_a_run_that_goes_on_says_so(finished: FinishedRun, tmp_path: Path) -> None:
    """The lock alone tells: whoever holds it runs."""
    import fcntl  # noqa: PLC0415

    lock = os.open(finished.work / "lock", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert command("report", finished.work, "--out", tmp_path / "r.html") == 0
    finally:
        os.close(lock)
    assert "<strong>running</strong>" in (tmp_path / "r.html").read_text()


def test_check_counts_questions_of_evaluation_sets_out(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in(tmp_path, server.base_url, 5)
    (tmp_path / "set.jsonl").write_text((tmp_path / "in.jsonl").read_text().splitlines()[2] + "\n")
    sets = f"dataset.decontaminate=[{tmp_path / 'set.jsonl'}]"
    assert command("check", "--config", tmp_path / "config.yaml", "--set", sets, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert "1 are in evaluation sets" in found["findings"][1]["said"]
    assert {part["role"]: part["calls"] for part in found["forecast"]}["truncation"] == 4


@pytest.mark.parametrize("name", ["run", "check", "preview", "status", "report", "export", "init"])
def test_help_teaches_each_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command(name, "--help")
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: weak2wise {name} ")
    assert "Parameters" in said


def test_the_list_of_commands_loads_none_of_their_libraries() -> None:
    heavy = {"datasets", "pyarrow", "huggingface_hub", "latex2mathml", "zstandard", "pandas"}
    code = f"import sys, weak2wise.commands; sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_the_memory_a_model_needs_is_read_from_its_folder(tmp_path: Path) -> None:
    """A 7B model's published shape: 28 layers, 4 key-value heads of 128, two bytes: 57,344 bytes a token."""
    shape = {"num_attention_heads": 28, "num_key_value_heads": 4, "num_hidden_layers": 28, "hidden_size": 3584}
    (tmp_path / "config.json").write_text(json.dumps(shape | {"torch_dtype": "bfloat16"}))
    assert footprint(tmp_path) is None, "there are no weights"
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    assert footprint(tmp_path) == Footprint(1000, 57_344)
    assert footprint(tmp_path, dtype="float32") == Footprint(1000, 2 * 57_344)
    assert footprint(tmp_path, kv_cache_dtype="fp8_e4m3") == Footprint(1000, 57_344 // 2)


@pytest.mark.parametrize("never", [["--resume", "never"], ["--resume=never"]])
def test_the_command_that_goes_on_does_not_start_anew(never: list[str]) -> None:
    """Repeated as it was given, it would set aside all that the run has just paid for."""
    assert command_line(["run", *never, "--page", "8000"]) == "python -m weak2wise.engine run --page 8000"
    assert command_line(["run", "--resume", "force"]) == "python -m weak2wise.engine run --resume force"


def test_a_hub_model_is_found_in_the_local_cache(tmp_path: Path) -> None:
    """The cache's layout is the Hub's own: refs name a commit, snapshots hold its files."""
    endpoint = VllmEndpoint(model_name="org/name")
    folder = tmp_path / "hub" / "models--org--name"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc123")
    snapshot = folder / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    env = {"HF_HOME": str(tmp_path)}
    assert cached("org/name", endpoint, env) is None, "nothing was fetched"
    (snapshot / "config.json").write_text("{}")
    assert cached("org/name", endpoint, env) == snapshot
    assert cached("org/name", endpoint, {"HF_HUB_CACHE": str(tmp_path / "hub")}) == snapshot
    assert cached("org/name", VllmEndpoint(model_name="org/name", download_dir=str(tmp_path / "hub")), {}) == snapshot
    assert cached("org/name", VllmEndpoint(model_name="org/name", revision="abc123"), env) == snapshot
    assert cached("org/name", VllmEndpoint(model_name="org/name", revision="other"), env) is None


def test_a_models_needs_are_compared_with_the_gpus_that_it_is_to_have() -> None:
    needs, gigabyte = Footprint(weights=15 * 10**9, kv_per_token=10**5), 10**9
    large = VllmEndpoint(model_name="m", max_model_len=16384)
    assert fit(needs, large, []) == (True, "no GPU was seen here to compare that with")
    assert fit(needs, large, [24 * gigabyte]) == (
        True,
        "0.9 of 1 x 24.0 GB leaves room for at most 66,000 tokens in flight",
    )
    assert fit(needs, large, [18 * gigabyte]) == (
        False,
        "0.9 of 1 x 18.0 GB has no room for one answer of max_model_len 16,384",
    )
    assert fit(needs, large, [12 * gigabyte]) == (False, "0.9 of 1 x 12.0 GB has no room for the weights")
    two = VllmEndpoint(model_name="m", tensor_parallel_size=2)
    assert fit(needs, two, [12 * gigabyte] * 2)[0]
    assert fit(needs, two, [80 * gigabyte]) == (False, "it is to run on 2 GPUs, of which 1 were seen")


def test_gpus_are_counted_as_the_driver_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 24576\necho 24576\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpus() == [24 << 30] * 2


@pytest.mark.parametrize(
    ("word", "says"),
    [("chekc", "no such command; did you mean check?"), ("nonsense", "no such command; there are run")],
)
def test_a_misspelt_command_is_answered_with_the_right_one(word: str, says: str) -> None:
    full = [sys.executable, "-m", "weak2wise.engine", word]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{word}: {says}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_interruption_while_the_program_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    full = [sys.executable, "-m", "weak2wise.engine", "run"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(full, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_an_interrupted_check_ends_in_a_line(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("hang_before_headers", Match(model="judge"), times=None),)) as server:
        run_in(tmp_path, server.base_url)
        process = start(tmp_path, command="check")
        while not server.stats().models.get("judge"):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted." in said.splitlines()
    assert "Traceback" not in said
