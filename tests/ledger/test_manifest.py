"""The manifest: a run goes on only if its results would be the same, or by force; what is set aside is not lost."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import InputDigest, Resume, load_manifest, settle

ANEW, GO_ON = "--resume never (start over)", "--resume force (go on)"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("one\ntwo\n")
    return path


def test_the_same_settings_go_on(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1"}, data, "auto")
    assert settle(tmp_path, {"a": "1"}, data, "auto")[1] == []


def test_changed_keys_are_refused_by_name(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"params.beta": "1", "same": "x"}, data, "auto")
    with pytest.raises(ConfigError, match=r"Changed since: params\.beta, params\.n_mask\."):
        settle(tmp_path, {"params.beta": "2", "params.n_mask": "3", "same": "x"}, data, "auto")


def test_a_key_that_an_older_manifest_lacks_counts_as_its_default(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1"}, data, "auto")
    before = (tmp_path / "manifest.json").read_bytes()
    assert settle(tmp_path, {"a": "1", "new": "x"}, data, "auto", defaults={"a": "0", "new": "x"})[1] == []
    assert (tmp_path / "manifest.json").read_bytes() == before
    with pytest.raises(ConfigError, match=r"Changed since: new\."):
        settle(tmp_path, {"a": "1", "new": "y"}, data, "auto", defaults={"a": "0", "new": "x"})


def test_force_goes_on_and_says_what_changed(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1"}, data, "auto")
    assert settle(tmp_path, {"a": "2"}, data, "force")[1] == ["a"]
    assert settle(tmp_path, {"a": "2"}, data, "auto")[1] == []


@pytest.mark.parametrize("again", ["auto", "force", "never"])
def test_settling_gives_the_manifest_that_is_in_the_file(tmp_path: Path, data: Path, again: Resume) -> None:
    settle(tmp_path, {"a": ["1"]}, data, "auto")
    for shape in ({"a": ["1"]}, {"a": ["2"]})[: 1 if again == "auto" else 2]:
        assert settle(tmp_path, shape, data, again)[0] == load_manifest(tmp_path / "manifest.json")


def test_a_begun_work_dir_keeps_its_rules_until_it_starts_over(tmp_path: Path, data: Path) -> None:
    def rules() -> int:
        manifest = load_manifest(tmp_path / "manifest.json")
        assert manifest is not None
        return manifest.rules

    settle(tmp_path, {"a": "1"}, data, "auto", rules=2)
    assert rules() == 2
    settle(tmp_path, {"a": "1"}, data, "auto", rules=3)
    settle(tmp_path, {"a": "2"}, data, "force", rules=3)
    assert rules() == 2
    written = json.loads((tmp_path / "manifest.json").read_text())
    del written["rules"]
    (tmp_path / "manifest.json").write_text(json.dumps(written))
    settle(tmp_path, {"a": "3"}, data, "force", rules=3)
    assert rules() == 1, "a manifest without them was begun with the first"
    settle(tmp_path, {"a": "3"}, data, "never", rules=3)
    assert rules() == 3


def test_a_changed_input_is_refused_even_by_force(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {}, data, "auto")
    data.write_text("ONE\ntwo\nthree\n")
    with pytest.raises(ConfigError, match="the content of") as caught:
        settle(tmp_path, {}, data, "auto")
    assert "--resume force" not in str(caught.value)
    with pytest.raises(ConfigError, match="first 8 bytes"):
        settle(tmp_path, {}, data, "force")


@pytest.mark.parametrize(
    ("before", "more"),
    [
        ("one\ntwo\n", "three\n"),
        ("one\ntwo\n", ""),
        ("one\ntwo", "\nthree"),
        ("one\ntwo", "\n"),
        ("one\ntwo", ""),
        ("", "one\n"),
        ("word " * 500_000 + "\n", "word " * 500_000 + "\n"),
    ],
    ids=["more", "the same", "after an open line", "its line break", "the same open line", "of nothing", "megabytes"],
)
def test_force_allows_lines_added_at_the_end(tmp_path: Path, data: Path, before: str, more: str) -> None:
    data.write_text(before)
    settle(tmp_path, {}, data, "auto")
    data.write_text(before + more)
    manifest, changed = settle(tmp_path, {}, data, "force")
    assert changed == []
    whole = (before + more).encode()
    assert manifest.input == InputDigest(len(whole), hashlib.sha256(whole).hexdigest())


def test_runs_that_are_set_aside_in_the_same_second_are_all_kept(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101T000000")
    for number in "1234":
        settle(tmp_path, {"a": number}, data, "never")
    kept = {path.name: json.loads(path.read_text())["shape"]["a"] for path in tmp_path.glob("manifest.json*")}
    aside = "manifest.json.before-20260101T000000"
    assert kept == {aside: "1", f"{aside}-2": "2", f"{aside}-3": "3", "manifest.json": "4"}


def test_settings_are_numbered_and_the_earlier_ones_are_kept(tmp_path: Path, data: Path) -> None:
    for value in ("1", "2", "3"):
        manifest, _ = settle(tmp_path, {"a": value, "same": "x"}, data, "force", defaults={"new": "0"})
    assert (manifest.version, manifest.settings) == (1, 2)
    assert manifest.shapes() == {
        0: {"a": "1", "same": "x", "new": "0"},
        1: {"a": "2", "same": "x", "new": "0"},
        2: {"a": "3", "same": "x"},
    }
    assert manifest.changed() == ["a", "new"]


def test_an_input_that_force_has_accepted_is_the_input_from_then_on(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1"}, data, "auto")
    data.write_text("one\ntwo\nthree\n")
    settle(tmp_path, {"a": "1"}, data, "force")
    assert settle(tmp_path, {"a": "1"}, data, "auto")[1] == []


def test_a_key_that_is_gone_is_a_change(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1", "b": "2"}, data, "auto")
    with pytest.raises(ConfigError, match=r"Changed since: b\."):
        settle(tmp_path, {"a": "1"}, data, "auto")


def test_force_keeps_the_day_on_which_the_run_began(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1"}, data, "auto")
    path = tmp_path / "manifest.json"
    begun = json.loads(path.read_text())
    assert begun["created"] > "2020"
    path.write_text(json.dumps(begun | {"created": "2021-01-01T00:00:00Z"}))
    settle(tmp_path, {"a": "2"}, data, "force")
    assert json.loads(path.read_text())["created"] == "2021-01-01T00:00:00Z"


def test_text_added_to_an_open_last_line_is_another_input(tmp_path: Path, data: Path) -> None:
    data.write_text("one\ntwo")
    settle(tmp_path, {}, data, "auto")
    data.write_text("one\ntwofold\n")
    with pytest.raises(ConfigError, match="first 7 bytes"):
        settle(tmp_path, {}, data, "force")


def test_never_starts_anew_and_keeps_the_old_ledger_aside(tmp_path: Path, data: Path) -> None:
    settle(tmp_path, {"a": "1"}, data, "auto")
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "paid").write_text("for")
    settle(tmp_path, {"a": "2"}, data, "never")
    assert not (tmp_path / "ledger").exists()
    (kept,) = tmp_path.glob("ledger.before-*/paid")
    assert kept.read_text() == "for"
    assert json.loads((tmp_path / "manifest.json").read_text())["shape"] == {"a": "2"}


def test_a_ledger_whose_manifest_is_gone_is_not_gone_on_with_unasked(tmp_path: Path, data: Path) -> None:
    (tmp_path / "ledger" / "filter").mkdir(parents=True)
    (tmp_path / "ledger" / "filter" / "00000.jsonl").touch()
    with pytest.raises(ConfigError, match="Restore it, or pass --resume force"):
        settle(tmp_path, {"a": "1"}, data, "auto")
    assert settle(tmp_path, {"a": "1"}, data, "force")[1] == []
    (tmp_path / "manifest.json").unlink()
    settle(tmp_path, {"a": "1"}, data, "never")
    assert list(tmp_path.glob("ledger.before-*/filter/00000.jsonl"))


def test_a_damaged_manifest_is_told_so(tmp_path: Path, data: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as a manifest"):
        settle(tmp_path, {}, data, "auto")


@pytest.mark.parametrize(
    ("may_start_over", "ways"),
    [
        (True, f"Put them back, choose another dataset.work_dir, or pass {ANEW} or {GO_ON}"),
        (False, f"Put them back, or pass {GO_ON}"),
    ],
)
def test_other_settings_are_refused_with_every_way_out(tmp_path: Path, may_start_over: bool, ways: str) -> None:
    data = tmp_path / "in.jsonl"
    data.write_text("one\n")
    settle(tmp_path, {"a": "1"}, data, "auto")
    with pytest.raises(ConfigError) as caught:
        settle(tmp_path, {"a": "2"}, data, "auto", may_start_over=may_start_over)
    assert str(caught.value).endswith(f"Changed since: a. {ways}")
