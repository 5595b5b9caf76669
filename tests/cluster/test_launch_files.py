"""The files that start a run on Slurm and on Kubernetes, as far as that can be seen without either."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import ROOT
from weak2wise.commands import app

FILES = ROOT / "docs" / "how-to" / "cluster"
PLAYED = {
    "scontrol": 'echo "node-1"; echo "node-2"',
    "srun": 'echo "srun $*" >>calls; shift; exec "$@"',
    "ray": 'echo "ray $*" >>calls; while [ "$1" != "--" ]; do shift; done; shift; "$@"',
    "weak2wise": (
        'echo "weak2wise $*" >>calls\n'
        "trap 'echo interrupted >>calls; sleep 0.5; echo \"all kept\" >>calls; exit 130' TERM\n"
        "touch started; for i in $(seq 200); do sleep 0.05; done"
    ),
}
"""Programs of a cluster, played by shell scripts."""


def played(folder: Path, **other: str) -> dict[str, str]:
    """An environment in which these programs are found first."""
    programs = folder / "weak2wise" / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text("")
    for name, text in (PLAYED | other).items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7"}
    return dict(os.environ, HOME=str(folder), PATH=f"{programs}:{os.environ['PATH']}", **slurm)


def start(folder: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["bash", str(FILES / "slurm.sbatch")], cwd=folder, env=env, start_new_session=True)


def test_the_signal_before_the_end_of_a_slurm_job_reaches_the_run_alone_which_stops_in_peace(tmp_path: Path) -> None:
    process = start(tmp_path, played(tmp_path))
    until = time.monotonic() + 20
    while not (tmp_path / "started").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith("srun --export=ALL ray symmetric-run --address node-1:6379 --min-nodes 2 -- bash -c")
    assert calls[2:] == ["weak2wise run --config config.yaml --ray auto", "interrupted", "all kept"]
    assert not [*tmp_path.glob("*.pid")]


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_a_slurm_job_ends_with_the_exit_code_of_its_run(tmp_path: Path, code: int) -> None:
    assert start(tmp_path, played(tmp_path, weak2wise=f"exit {code}")).wait(20) == code


def test_ray_knows_the_options_by_which_it_is_started() -> None:
    pytest.importorskip("ray")
    from ray.scripts.symmetric_run import symmetric_run  # noqa: PLC0415 - Ray is an extra

    known = {name for parameter in symmetric_run.params for name in parameter.opts}
    assert {"--address", "--min-nodes"} <= known


def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FILES / "rayjob.yaml").read_text())
    return found


def test_a_kubernetes_job_is_not_started_again_and_has_its_keys_from_a_secret() -> None:
    assert job()["kind"] == "RayJob"
    spec = job()["spec"]
    assert spec["backoffLimit"] == 0
    assert "runtimeEnvYAML" not in spec, "it is shown by the dashboard"
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "weak2wise-keys"}}]
        assert container["volumeMounts"][0]["mountPath"] == "/data"
    assert groups[0]["rayStartParams"] == {"num-cpus": "0"}


def test_both_files_start_a_command_that_there_is() -> None:
    slurm = (FILES / "slurm.sbatch").read_text().partition("exec ")[2].partition("'")[0]
    for line in (job()["spec"]["entrypoint"], slurm):
        program, *arguments = shlex.split(line)
        assert program == "weak2wise"
        command, bound, _ = app.parse_args(arguments)
        assert command.__name__ == "run"
        assert bound.arguments["ray"] == "auto"
