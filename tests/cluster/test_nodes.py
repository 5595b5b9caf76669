"""What is wrong with a node, without a cluster: other versions, another folder under the same name."""

from pathlib import Path

import pytest

pytest.importorskip("ray")

from weak2wise.cluster.nodes import SEEN, Look, Versions, _wrong, look, versions


def test_a_node_that_sees_the_same_folder_and_writes_there_is_good(tmp_path: Path) -> None:
    (tmp_path / SEEN).write_text("token")
    assert _wrong(look(str(tmp_path), "node"), "token", tmp_path / "node") == ""


def test_a_folder_of_its_own_under_the_same_name_is_found(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, token in ((here, "token"), (there, "another")):
        folder.mkdir()
        (folder / SEEN).write_text(token)
    assert "is another folder there than here" in _wrong(look(str(there), "node"), "token", here / "node")
    (there / SEEN).write_text("token")  # a copy
    assert "is another folder there than here" in _wrong(look(str(there), "node"), "token", here / "node")


def test_a_folder_that_is_not_there_is_found(tmp_path: Path) -> None:
    said = _wrong(look(str(tmp_path / "gone"), "node"), "token", tmp_path / "node")
    assert "No such file or directory" in said
    assert "on a file system that all share" in said


def test_other_versions_are_said(tmp_path: Path) -> None:
    said = _wrong(Look(Versions("3.9.1", "0.0.1", "2.9.0")), "token", tmp_path / "node")
    assert said.startswith("has Python 3.9.1, weak2wise 0.0.1, ray 2.9.0, and this process Python ")
    assert versions().python in said
