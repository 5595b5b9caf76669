"""The engine as a service: what is started again, what is not, and how the parts of compose.yaml fit together."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import ROOT
from weak2wise.commands.say import command_line

SERVICE = ROOT / "docker" / "unattended.py"


def _start(arguments: list[str], path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(SERVICE), *arguments],
        cwd=path,
        env=os.environ | {"PYTHONPATH": str(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with an engine that ends as its last argument says, and when told to stop, with 130."""
    (tmp_path / "weak2wise").mkdir()
    (tmp_path / "weak2wise" / "__init__.py").touch()
    (tmp_path / "weak2wise" / "engine.py").write_text(
        "import os, signal, sys, time\n"
        "end = sys.argv[-1]\n"
        "if end == 'wait':\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))\n"
        "    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)\n"
        "if end == 'killed':\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(int(end))\n"
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code"),
    [("0", 0), ("1", 0), ("2", 0), ("3", 0), ("70", 70), ("130", 130), ("killed", 137)],
)
def test_only_what_a_restart_can_help_ends_with_a_failure(stand_in: Path, end: str, code: int) -> None:
    service = _start(["--config", end], stand_in)
    _, said = service.communicate(timeout=30)
    assert service.returncode == code
    assert ("not started again" in said) == (end in {"1", "2", "3"})


@pytest.mark.slow
def test_other_commands_keep_their_exit_codes(stand_in: Path) -> None:
    service = _start(["check", "3"], stand_in)
    service.communicate(timeout=30)
    assert service.returncode == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_engine(stand_in: Path, number: signal.Signals) -> None:
    service = _start(["wait"], stand_in)
    assert service.stdout
    assert service.stdout.readline() == "up\n"
    time.sleep(0.1)
    service.send_signal(number)
    service.communicate(timeout=30)
    assert service.returncode == 130


@pytest.mark.slow
def test_a_run_that_cannot_start_says_why_and_is_left_alone(tmp_path: Path) -> None:
    service = _start(["--config", str(tmp_path / "none.yaml")], ROOT)
    _, said = service.communicate(timeout=60)
    assert service.returncode == 0
    assert "none.yaml" in said
    assert "exit code 2" in said


def test_compose_has_no_default_token_and_starts_again_only_what_a_restart_can_help() -> None:
    """What serves comes back after a restart of Docker, though it ends with 0; a run that keeps crashing is left.

    What the services share is safe to share: the strong model's server is root and keeps its own files.
    """
    text = (ROOT / "docker" / "compose.yaml").read_text()
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    assert text.count("${W2W_PAGE_TOKEN:?") == text.count("${W2W_PAGE_TOKEN") == 4
    assert "W2W_PAGE_TOKEN=\n" in (ROOT / "docker" / ".env.example").read_text()
    ours = {name for name in services if name.startswith(("engine", "ray-"))}
    for name, service in services.items():
        assert service["restart"] == ("on-failure:10" if name in ours else "unless-stopped"), name
    volumes = {name: {v.partition(":")[0] for v in service.get("volumes", ())} for name, service in services.items()}
    assert not volumes["strong"] & volumes["engine"]
    for name in ("engine", "engine-cpu"):
        assert services[name]["entrypoint"] == ["python3", "/opt/weak2wise/docker/unattended.py"]
        assert "/healthz" in services[name]["healthcheck"]["test"][-1]
    for dockerfile in ("Dockerfile", "Dockerfile.cpu"):
        assert "COPY docker/unattended.py docker/" in (ROOT / "docker" / dockerfile).read_text()


def test_no_service_has_rights_that_it_does_not_use() -> None:
    """What is written to is a volume or in memory; a model that two GPUs share needs shared memory, not the host's."""
    text = (ROOT / "docker" / "compose.yaml").read_text()
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    assert len(services) == 7
    assert "content:" not in text, "Compose cannot put it into a container that is read-only"
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert not {"ipc", "privileged", "cap_add", "pid", "network_mode"} & set(service), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
    for name in ("engine", "engine-cpu", "strong", "ray-head", "ray-worker"):
        assert services[name]["shm_size"], name
        assert any(line.startswith("/tmp:exec") for line in services[name]["tmpfs"]), name


def test_every_key_that_the_shipped_config_names_has_its_line_in_the_example() -> None:
    named = set(re.findall(r"^\s*api_key_env: (\w+)", (ROOT / "config.yaml").read_text(), re.MULTILINE))
    assert len(named) > 1
    assert named <= set(re.findall(r"^(\w+)=$", (ROOT / "docker" / ".env.example").read_text(), re.MULTILINE))


def test_the_page_has_one_port_inside_and_outside() -> None:
    """The run prints its address: it is the one to open, whatever ``W2W_PAGE_PORT`` says."""
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    port = "${W2W_PAGE_PORT:-8000}"
    for name in ("engine", "engine-cpu", "ray-head"):
        service = compose["services"][name]
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"], name
        assert f"0.0.0.0:{port}" in service["command"], name
        assert f"127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1], name
    assert f"run:{port}" in compose["services"]["prometheus"]["environment"]["PROMETHEUS_YML"]


def test_advice_names_a_command_that_works_outside_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    for name in ("engine", "engine-cpu", "ray-head"):
        said = services[name]["environment"]["W2W_COMMAND"]
        assert (said.split()[:2], said.split()[-1]) == (["docker", "compose"], name)
        monkeypatch.setenv("W2W_COMMAND", said)
        assert command_line(["--config", "/srv/config.yaml"]) == f"{said} --config /srv/config.yaml"


@pytest.mark.parametrize(
    ("dockerfile", "lock"), [("Dockerfile", "requirements"), ("Dockerfile.cpu", "requirements-cpu")]
)
def test_images_are_built_from_a_lock_file_with_a_hash_for_every_package(dockerfile: str, lock: str) -> None:
    text = (ROOT / "docker" / dockerfile).read_text()
    assert f"docker/{lock}.lock" in text.partition("RUN")[2] or f"docker/{lock}.lock" in text.rpartition("RUN")[2]
    assert f"!docker/{lock}.lock" in (ROOT / ".dockerignore").read_text().splitlines()
    locked = (ROOT / "docker" / f"{lock}.lock").read_text()
    assert "://" not in locked
    assert not re.search(r"^triton==", locked, re.MULTILINE), "a gigabyte that no CPU uses, and that GPU images have"
    entries = [entry for entry in re.split(r"^(?=[a-z])", locked, flags=re.MULTILINE) if "==" in entry]
    assert len(entries) > 40
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    names = {entry.partition("==")[0] for entry in entries}
    wanted: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*wanted["dependencies"], *wanted["optional-dependencies"]["formats"]]
    needed += wanted["optional-dependencies"]["cpu"] if lock == "requirements-cpu" else []
    for requirement in needed:
        name = re.split(r"[\[<>=]", requirement)[0].lower().replace("_", "-")
        assert name in names | {"torch"}, f"{name}: run scripts/lock.sh"
