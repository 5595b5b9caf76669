"""Files and folders of another user: the run says whose they are and what to do, and is not started again and again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docker.test_docker import SERVICE
from tests.engine_runs import ROOT, config_for, write_run

pytestmark = pytest.mark.slow

STRANGER = 1000
AS_A_USER = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--"]
"""Root without its rights is refused what a user is refused; Docker's ``cap_drop`` does the same."""


def _command(*arguments: object, program: tuple[str, ...] = ("-m", "weak2wise.engine")) -> tuple[int, str]:
    done = subprocess.run(
        [*(AS_A_USER if os.geteuid() == 0 else ()), sys.executable, *program, *map(str, arguments)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A run's folder, with ``data`` in it that only another user may look into."""
    data = tmp_path / "data"
    config = config_for(data, "http://127.0.0.1:9/v1")
    write_run(data, config, 1)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    _close(data)
    yield tmp_path
    data.chmod(0o700)


def _close(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER)
        path.chmod(0o700 if path.is_dir() else 0o600)
    else:
        path.chmod(0)


def _wants(said: str, path: Path) -> bool:
    return "Permission denied" in said and f"`sudo chown -R {os.geteuid()} {path}`" in said and "Traceback" not in said


@pytest.mark.parametrize("key", ["input_path", "decontaminate", "work_dir", "finetune_out"])
def test_a_folder_of_another_user_is_named_with_its_key_and_what_lets_the_run_in(folder: Path, key: str) -> None:
    inside, outside = folder / "data", folder / "mine"
    outside.mkdir()
    (outside / "in.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "2"}) + "\n")
    config = config_for(outside, "http://127.0.0.1:9/v1")
    config["dataset"][key] = [str(inside / "set.jsonl")] if key == "decontaminate" else str(inside / "a")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    code, said = _command("--config", folder / "config.yaml")
    assert code == 2, said
    assert f"dataset.{key}" in said
    assert _wants(said, inside)


def test_an_input_and_a_config_that_may_not_be_read_say_so_before_the_run(tmp_path: Path) -> None:
    config = config_for(tmp_path, "http://127.0.0.1:9/v1")
    write_run(tmp_path, config, 1)
    for name in ("in.jsonl", "config.yaml"):
        _close(tmp_path / name)
        code, said = _command("--config", tmp_path / "config.yaml")
        assert code == 2, said
        assert _wants(said, tmp_path / name)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("command", ["status", "report", "export", "check"])
def test_other_commands_say_it_too(folder: Path, command: str) -> None:
    out = ["--out", folder / "x"] if command in {"report", "export"} else []
    where = ["--config", folder / "config.yaml"] if command == "check" else [folder / "data" / "work"]
    code, said = _command(command, *where, *out)
    assert code == 2, said
    assert _wants(said, folder / "data")


@pytest.mark.parametrize("name", ["ledger", "manifest.json", "run.log", "lock"])
def test_a_work_dir_with_something_of_another_user_in_it_can_be_put_right(tmp_path: Path, name: str) -> None:
    """As ``docker compose`` leaves it that was once run as root."""
    config = config_for(tmp_path, "http://127.0.0.1:9/v1")
    write_run(tmp_path, config, 1)
    path = tmp_path / "work" / name
    path.parent.mkdir()
    path.mkdir() if name == "ledger" else path.write_text("{}")
    _close(path)
    code, said = _command("--config", tmp_path / "config.yaml")
    path.chmod(0o700)
    assert code == (3 if name == "ledger" else 2), said
    assert _wants(said, path)


def test_the_service_ends_and_is_not_started_again(folder: Path) -> None:
    code, said = _command("--config", folder / "config.yaml", program=(str(SERVICE),))
    assert (code, "exit code 2" in said) == (0, True), said
    assert _wants(said, folder / "data")
