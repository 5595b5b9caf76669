"""The embedded vLLM engine before it runs: what is refused, what it says, and its guard."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.engine_runs import ROOT
from tests.vllm.engines import model_folder, wait_until_gone
from weak2wise.config import VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.vllm.engine_log import EngineLog
from weak2wise.llm.vllm.guard import _holders, family
from weak2wise.llm.vllm.model import check_vllm


def test_importing_the_module_does_not_import_vllm() -> None:
    """The configuration can be checked where vLLM is not installed, and quickly where it is."""
    code = "import sys, weak2wise.llm.vllm.model; sys.exit('vllm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_missing_vllm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    with pytest.raises(ConfigError, match=r"model_endpoints\.weak .*'\.\[gpu\]'.*'\.\[cpu\]'"):
        check_vllm("weak", VllmEndpoint(model_id="m"))


@pytest.mark.vllm
def test_unknown_engine_argument_is_named_with_the_nearest_known_one() -> None:
    endpoint = VllmEndpoint(model_id="m", engine_args={"seed": 1, "swap_spaec": 2, "block_sise": 16})
    with pytest.raises(ConfigError, match="swap_spaec"):
        check_vllm("weak", endpoint)
    endpoint = VllmEndpoint(model_id="m", engine_args={"block_sise": 16})
    with pytest.raises(ConfigError, match=r"model_endpoints\.weak\.engine_args\.block_sise.*'block_size'"):
        check_vllm("weak", endpoint)


@pytest.mark.vllm
def test_engine_argument_given_twice_is_refused() -> None:
    endpoint = VllmEndpoint(model_id="m", max_num_seqs=8, engine_args={"max_num_seqs": 16})
    with pytest.raises(ConfigError, match=r"engine_args\.max_num_seqs"):
        check_vllm("weak", endpoint)


@pytest.mark.vllm
def test_known_engine_arguments_pass() -> None:
    check_vllm("weak", VllmEndpoint(model_id="m", engine_args={"block_size": 16, "seed": 1}))


def test_last_words_are_the_last_error_of_this_engine(tmp_path: Path) -> None:
    """An earlier engine's words in the same file are not taken for this one's."""
    file = tmp_path / "vllm.log"
    file.write_text("ValueError: of an earlier engine\n")
    engine_log = EngineLog(file)
    assert engine_log.last_error() == ""
    with file.open("a") as more:
        more.write(
            "INFO loading\nTraceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: no room\nINFO bye\n"
        )
    assert engine_log.last_error() == "torch.OutOfMemoryError: no room"
    engine_log.close()


def test_what_the_engine_says_is_private_to_its_owner(tmp_path: Path) -> None:
    engine_log = EngineLog(tmp_path / "vllm.log")
    assert (tmp_path / "vllm.log").stat().st_mode & 0o777 == 0o600
    engine_log.close()


def test_guard_kills_what_a_killed_process_leaves_behind() -> None:
    """The guard alone, without vLLM: a spawned child of a process that gets SIGKILL is gone soon."""
    code = (
        "import multiprocessing, time\n"
        "from weak2wise.llm.vllm.guard import Guard\n"
        "guard = Guard()\n"
        "child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(600,))\n"
        "child.start(); print('ready', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        members = [pid for pid, _ in family([program.pid])]
        assert len(members) == 4  # itself, its child, the guard and multiprocessing's resource tracker
        program.kill()
    wait_until_gone(members)


def test_guard_never_overlooks_a_process_that_opens_and_closes_files() -> None:
    """As one does that imports its modules: a descriptor that closes while it is looked at hides no other."""
    code = "import os; print(flush=True)\nwhile True: [os.close(fd) for fd in [os.open('/', 0) for _ in range(200)]]"
    reader, writer = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, pass_fds=[writer]) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        mark = os.fstat(writer).st_ino
        seen = [busy.pid in _holders(mark) for _ in range(20)]
        busy.kill()
    os.close(reader)
    os.close(writer)
    assert all(seen)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("given", "replicas"), [(None, 1), (8, 8)])
def test_each_data_parallel_replica_is_counted(given: int | None, replicas: int) -> None:
    """What vLLM itself makes of the endpoint, without starting it."""
    module = import_module("weak2wise.llm.vllm.engine")
    endpoint = VllmEndpoint(model_id=model_folder(), max_model_len=2048, max_num_seqs=256, data_parallel_size=given)
    engine_log = EngineLog(None)
    try:
        arguments = import_module("weak2wise.llm.vllm.arguments").engine_arguments("weak", endpoint, engine_log)
        assert module.replicas(arguments.create_engine_config(module.UsageContext.LLM_CLASS)) == replicas
    finally:
        engine_log.close()
