"""An export is uploaded by huggingface_hub's own client, over HTTP to a Hub on the loopback device."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_runs import ROOT
from tests.finished_run import FinishedRun
from tests.outputs.hub_server import TOKEN, HubServer, hub_server

NAMES = {"train.jsonl", "README.md"}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with hub_server() as server:
        yield server


def upload(hub: HubServer, work: Path, out: Path, token: str = TOKEN) -> tuple[int, str]:
    """Export and push; returns the exit code and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "weak2wise", "export", str(work), "--out", str(out), "--push-to-hub", "me/golden"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        | {"HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HOME": str(out.parent / "hf"), "NO_PROXY": "127.0.0.1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_files_arrive_byte_for_byte_in_one_commit_of_a_private_data_set(
    hub: HubServer, finished: FinishedRun, tmp_path: Path
) -> None:
    code, said = upload(hub, finished.work, tmp_path / "x")
    assert code == 0, said
    assert f"Uploaded to {hub.url}/datasets/me/golden" in said
    assert hub.private == {"me/golden": True}
    assert len(hub.commits) == 1
    assert hub.files["me/golden"].keys() >= NAMES
    for name, content in hub.files["me/golden"].items():
        assert content == (tmp_path / "x" / name).read_bytes(), name
    code, said = upload(hub, finished.work, tmp_path / "x")
    assert (code, len(hub.commits)) == (0, 2), "a data set that exists is written to again"


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("create", 401),
        ("commit", "cut"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("create", 403), ("create", 429), ("create", 500), ("create", "cut")]
        ),
        *(pytest.param("commit", status, marks=pytest.mark.slow) for status in (401, 429, 500)),
    ],
)
def test_an_upload_that_fails_says_so_and_leaves_the_files(
    hub: HubServer, finished: FinishedRun, tmp_path: Path, call: str, status: int | str
) -> None:
    hub.fault = (f"/{call}", status, 99)
    code, said = upload(hub, finished.work, tmp_path / "x")
    assert code == 2, said
    assert "--push-to-hub me/golden: " in said
    assert "The files are written" in said
    assert "Traceback" not in said
    assert TOKEN not in said
    assert not hub.commits
    assert {path.name for path in (tmp_path / "x").iterdir()} >= NAMES
    hub.fault = ("", 0, 0)
    assert upload(hub, finished.work, tmp_path / "x")[0] == 0, "the same command goes on"
    assert len(hub.commits) == 1


@pytest.mark.slow
def test_a_wrong_token_is_named(hub: HubServer, finished: FinishedRun, tmp_path: Path) -> None:
    code, said = upload(hub, finished.work, tmp_path / "x", token="hf_wrong")
    assert (code, "HF_TOKEN" in said) == (2, True), said
    assert "hf_wrong" not in said


@pytest.mark.parametrize(
    "status", [pytest.param(429, marks=pytest.mark.slow), pytest.param(500, marks=pytest.mark.slow), "cut"]
)
def test_a_fault_that_passes_does_not_end_the_upload(
    hub: HubServer, finished: FinishedRun, tmp_path: Path, status: int | str
) -> None:
    hub.fault = ("/preupload", status, 1)
    code, said = upload(hub, finished.work, tmp_path / "x")
    assert (code, len(hub.commits)) == (0, 1), said
