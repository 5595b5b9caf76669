"""Hosts of a Ray cluster with an embedded vLLM each: a whole run, and a killed host takes its engine along."""

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")

from tests.cluster.machines import cluster_of, ended, host_pids, kill, start, wait_until, write_cluster_run
from tests.engine_runs import write_run
from tests.loopback import LoopbackProcess
from tests.vllm.engines import model_folder
from weak2wise.llm.vllm.guard import family

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # what vLLM imports is deprecated here and there
]
QUESTIONS = 24
LOADING_SECONDS = 240.0
"""Two engines load on two cores that they share."""


def engines(host: int) -> list[int]:
    """The processes of vLLM's engine below a host."""
    return [pid for pid, _ in family([host]) if title(pid).startswith(b"VLLM::EngineCore")]


def title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_two_hosts_with_an_engine_each_finish_a_run_in_which_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads of two engines would wait for each other by spinning
    with LoopbackProcess() as server:
        config = write_cluster_run(tmp_path, server.base_url, QUESTIONS, in_flight=8, cluster={"part_rows": 3})
        config["params"] |= {"judge_mode": "rule"}
        config["model_endpoints"]["weak"] = {
            "type": "vllm",
            "model_name": model_folder(),
            "max_model_len": 1024,
            "max_num_seqs": 4,
            "enforce_eager": True,
            "generation_kwargs": {"max_new_tokens": 48},
            "engine_args": {"kv_cache_memory_bytes": 2**28},
        }
        write_run(tmp_path, config, QUESTIONS)
        with cluster_of(2) as cluster:
            process = start(tmp_path, cluster.address)
            wait_until(
                lambda: process.poll() is not None or [len(engines(host)) for host in host_pids()] == [1, 1],
                LOADING_SECONDS,
            )
            assert process.poll() is None, ended(process, 0)
            killed = host_pids()[0]
            (engine,) = engines(killed)
            began = time.monotonic()
            kill(killed)
            wait_until(lambda: not title(engine), 10)
            print(f"its engine was gone after {time.monotonic() - began:.2f} s")
            ended(process, 0, LOADING_SECONDS + 300)
    totals = json.loads((tmp_path / "work" / "summary.json").read_text())["totals"]
    assert totals["rows"] == QUESTIONS
    assert totals["emitted"] + sum(totals["dropped"].values()) == QUESTIONS
