"""The whole engine as its users run it: a command, a config, a server, files."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, finish, lines, start, write_run
from tests.loopback import LoopbackProcess, Mix
from tests.loopback.faults import Kind
from tests.run.oracle import Oracle
from weak2wise.ledger.files import fix_hint, locked

VIEWS = ("s_prime.jsonl", "candidates.jsonl", "scored_candidates.jsonl", "selected_truncated.jsonl")


def outputs(folder: Path) -> dict[str, bytes]:
    """Every result file's bytes."""
    return {p.name: p.read_bytes() for p in (*(folder / "work" / v for v in VIEWS), folder / "out.jsonl")}


def asked_of(server: LoopbackProcess) -> int:
    """How many requests the server has had."""
    return sum(request.asked for request in server.requests().values())


def part(line: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The fields of a line that the oracle has too."""
    return {key: line[key] for key in like}


@pytest.mark.slow
def test_decisions_are_those_of_the_method_written_as_straight_line_code(tmp_path: Path) -> None:
    """Same kept questions, step lists, s-lists, scores, winners, truncations and SFT lines as the oracle."""
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, judge_mode="llm", truncation="rewrite", scoring="exhaustive")
        for endpoint in config["model_endpoints"].values():
            endpoint["extra_body"] = {"seed": None}  # the reference sends none
        pairs = write_run(tmp_path, config, 12)
        finish(tmp_path)
        oracle = Oracle(server.base_url, config)
        oracle.run(pairs)
    assert oracle.sft, "the comparison must compare something"
    assert lines(tmp_path / "out.jsonl") == oracle.sft
    for name, expected in zip(VIEWS, (oracle.s_prime, oracle.candidates, oracle.scored, oracle.selected), strict=True):
        found = lines(tmp_path / "work" / name)
        assert [part(line, like) for line, like in zip(found, expected, strict=True)] == expected, name


@pytest.mark.slow
def test_a_race_of_any_width_emits_what_scoring_every_bit_emits_for_fewer_attempts(tmp_path: Path) -> None:
    attempts, emitted, scored = {}, {}, {}
    for name, settings in {"all": {}, "one": {"race_width": 1}, "four": {"race_width": 4}}.items():
        with LoopbackProcess() as server:
            folder = tmp_path / name
            config = config_for(folder, server.base_url, scoring="race" if settings else "exhaustive", majority=3)
            write_run(folder, config | {"engine": settings}, 12)
            finish(folder)
            attempts[name] = server.stats().models["weak"].answered
        emitted[name] = (folder / "out.jsonl").read_bytes()
        scored[name] = (folder / "work" / "scored_candidates.jsonl").read_bytes()
        bits = json.loads((folder / "work" / "summary.json").read_text())["this_start"]["bits"]
        assert ("in_vain" in bits and bits["in_vain"] > 0) == (name == "four")
    assert emitted["one"] == emitted["four"] == emitted["all"]
    assert scored["one"] == scored["four"], "what was asked ahead must not show"
    assert attempts["one"] < attempts["four"] < attempts["all"]


@pytest.mark.slow
def test_twenty_kills_lose_nothing_double_nothing_and_end_with_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL at random moments; no answer that had arrived is asked for again, but for those in flight at a kill."""
    kills = 20
    rng = random.Random(kills)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    with LoopbackProcess(latency=0.02) as server:
        write_run(calm, config_for(calm, server.base_url), 150)
        finish(calm)
        needed = asked_of(server)
    with LoopbackProcess(latency=0.02) as server:
        config = config_for(killed, server.base_url)
        for endpoint in config["model_endpoints"].values():
            endpoint["max_concurrent_requests"] = 8
        write_run(killed, config, 150)
        for _ in range(kills):
            # So many more requests that the last kill still comes before the end.
            moment = asked_of(server) + rng.randint(1, needed // (kills + 10))
            with start(killed) as process:
                while asked_of(server) < moment:
                    assert process.poll() is None, "the run ended before it could be killed"
                    time.sleep(0.01)
                os.killpg(process.pid, signal.SIGKILL)
        finish(killed)
        asked = asked_of(server)
    assert outputs(killed) == outputs(calm)
    in_flight_at_most = 8 * len(config["model_endpoints"])
    assert needed <= asked <= needed + kills * in_flight_at_most


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_within_5_seconds_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    with LoopbackProcess(latency=0.05) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 200)
        process = start(tmp_path)
        while not list((tmp_path / "work").glob("ledger/journal/*.jsonl")):
            time.sleep(0.05)
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 5
        assert process.returncode == 130, said
        assert said.splitlines()[-1].startswith("Interrupted;")
        assert "Go on with: python -m weak2wise.engine" in said.splitlines()[-1]
        finish(tmp_path)
    assert len({line["row"] for line in lines(tmp_path / "work" / "s_prime.jsonl")}) > 0


@pytest.mark.slow
def test_bad_lines_fail_by_number_and_the_rest_goes_through(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 4)
        with (tmp_path / "in.jsonl").open("ab") as file:
            file.write(b'{"question": "", "answer": "1"}\n{"question": "x"\n\xff\xfe\n')
        said = finish(tmp_path, code=1)
    assert [(f["row"], f["stage"]) for f in lines(tmp_path / "work" / "failed.jsonl")] == [
        (5, "input"),
        (6, "input"),
        (7, "input"),
    ]
    assert "failed.jsonl" in said
    totals = json.loads((tmp_path / "work" / "summary.json").read_text())["totals"]
    balance = totals["emitted"] + sum(totals["dropped"].values()) + sum(totals["failed"].values())
    assert (totals["rows"], totals["unfinished"]) == (balance, 0) == (7, 0)


@pytest.mark.slow
def test_a_run_stops_at_a_step_and_a_later_one_goes_on_paying_for_nothing_twice(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 6)
        assert "run.started" in finish(tmp_path, "--up-to-step", "2", "--verbose")
        assert (tmp_path / "work" / "candidates.jsonl").exists()
        assert not (tmp_path / "out.jsonl").exists()
        finish(tmp_path)
        assert server.asked_each_once()
        before = outputs(tmp_path)
        asked = sum(request.asked for request in server.requests().values())
        finish(tmp_path)
        assert outputs(tmp_path) == before
        assert sum(request.asked for request in server.requests().values()) == asked


@pytest.mark.slow
def test_a_run_stops_after_so_many_questions_and_a_later_one_goes_on_as_if_it_never_had(tmp_path: Path) -> None:
    """A line that is no question counts as one: the first so many lines are taken."""
    limited, whole = tmp_path / "limited", tmp_path / "whole"
    with LoopbackProcess() as server:
        for folder in (limited, whole):
            write_run(folder, config_for(folder, server.base_url, n_mask=2), 6)
            found = (folder / "in.jsonl").read_text().splitlines(keepends=True)
            (folder / "in.jsonl").write_text("".join([*found[:5], "no JSON\n", *found[5:]]))
        finish(limited, "--limit", "3")
        totals = json.loads((limited / "work" / "summary.json").read_text())["totals"]
        assert (totals["rows"], totals["failed"], totals["unfinished"]) == (3, {}, 0)
        assert totals["emitted"] + sum(totals["dropped"].values()) == 3
        assert {line["row"] for line in lines(limited / "work" / "s_prime.jsonl")} <= {1, 2, 3}
        finish(limited, "--limit", "3")
        assert server.asked_each_once()
        finish(limited, code=1)
        assert server.asked_each_once()
        finish(whole, code=1)
    assert outputs(limited) == outputs(whole)
    assert lines(limited / "work" / "failed.jsonl") == lines(whole / "work" / "failed.jsonl")
    ended = [json.loads((folder / "work" / "summary.json").read_text())["totals"] for folder in (limited, whole)]
    assert ended[0] == ended[1]
    assert ended[0]["rows"] == 7


@pytest.mark.slow
def test_a_limit_beyond_the_input_or_below_one_is_none_or_a_mistake(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 2)
        assert "--limit" in finish(tmp_path, "--limit", "0", code=2)
        assert not (tmp_path / "work").exists()
        finish(tmp_path, "--limit", "9")
    assert json.loads((tmp_path / "work" / "summary.json").read_text())["totals"]["rows"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("status", ["401", "402", "403", "404"])
def test_what_only_the_user_can_mend_stops_the_run_with_exit_3(tmp_path: Path, status: Kind) -> None:
    with LoopbackProcess(faults=Mix(mix={status: 1.0})) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 3)
        said = finish(tmp_path, code=3)
    assert f"HTTP {status}" in said
    assert "Traceback" not in said
    assert "Go on with: python -m weak2wise.engine" in said.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "params.n_mask=0"], "params.n_mask: expected int >= 1, found 0"),
        (["--set", "dataset.input_path=/nowhere.jsonl"], "no such file (dataset.input_path)"),
        (
            ["--set", "dataset.finetune_out=/dev/null/out.jsonl"],
            "/dev/null: cannot be written: Not a directory (dataset.finetune_out)",
        ),
        (["--set", "dataset.finetune_out=/tmp"], "/tmp: is a folder; expected a file to be written (dataset.finetune"),
        (
            ["--set", "dataset.work_dir=/dev/null/work"],
            "/dev/null/work: cannot be written: Not a directory (dataset.work_dir)",
        ),
        (["--set", "prompts.pqr=x"], "prompts.pqr: the placeholder {question} is missing"),
        (["--up-to-step", "9"], "expected 1, 2, 3, 4, 5 or all"),
        (["--resume", "maybe"], "maybe"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_what_cannot_start_is_told_in_a_line_with_exit_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    said = finish(tmp_path, *arguments, code=2)
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_work_dir_in_use_or_not_to_be_made_is_told_in_a_line_with_exit_2(tmp_path: Path) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    with locked(tmp_path / "work"):
        assert f"{tmp_path / 'work'}: in use by another engine" in finish(tmp_path, code=2)
    assert "/dev/null/work" in finish(tmp_path, "--set", "dataset.work_dir=/dev/null/work", code=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["candidates.jsonl", "ledger/x.jsonl"])
def test_the_training_data_is_not_put_in_place_of_the_runs_own_files(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    said = finish(tmp_path, "--set", f"dataset.finetune_out={tmp_path / 'work' / name}", code=2)
    assert "is a file of the run itself; choose another (dataset.finetune_out)" in said


@pytest.mark.slow
def test_a_log_that_cannot_be_opened_is_told_in_a_line(tmp_path: Path) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    (tmp_path / "work" / "run.log").mkdir(parents=True)
    said = finish(tmp_path, code=2)
    assert said == f"{tmp_path / 'work' / 'run.log'}: cannot be written: Is a directory (dataset.work_dir)\n"


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "Make room on the disk"), (errno.EROFS, "Make it writable"), (errno.EIO, "Fix")],
)
def test_only_a_full_disk_is_said_to_want_room(number: int, says: str) -> None:
    assert fix_hint(OSError(number, os.strerror(number))).startswith(says)


@pytest.mark.slow
def test_a_missing_config_is_told_in_a_line_with_exit_2(tmp_path: Path) -> None:
    process = start(tmp_path)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no such file; pass --config FILE" in said


@pytest.mark.slow
def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 2)
        finish(tmp_path)
        assert "params.beta" in finish(tmp_path, "--set", "params.beta=0.9", code=2)
        finish(tmp_path, "--set", "params.beta=0.9", "--resume", "force")
        finish(tmp_path, "--resume", "never")
    assert list((tmp_path / "work").glob("ledger.before-*"))


def test_the_base_install_imports_neither_torch_nor_sympy() -> None:
    code = "import sys, weak2wise.engine; sys.exit(bool({'torch', 'vllm', 'sympy', 'math_verify'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
