"""Classes named by import path: found, checked, and part of what a run's results depend on."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from weak2wise.config import Config, EndpointSettings, Models, OpenAIEndpoint, PluginEndpoint, load_config
from weak2wise.config.shape import result_shape
from weak2wise.errors import ConfigError
from weak2wise.outputs.settings import as_yaml
from weak2wise.plugins import load_object

SOURCE = """
from weak2wise.config import EndpointSettings

class Bare:
    version = "1"

class Mine:
    version = "2"

    class Settings(EndpointSettings, kw_only=True):
        url: str
        depth: int = 1
        key_variable: str = "MY_KEY"

        def secrets(self):
            return {"key_variable": self.key_variable}

        def answer_settings(self):
            settings = super().answer_settings()
            del settings["url"], settings["key_variable"]
            return settings

class Unversioned:
    pass

class Odd:
    version = "1"
    Settings = dict

def function(): ...
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the user's modules in it."""
    (tmp_path / "w2w_lab").mkdir()
    (tmp_path / "w2w_lab" / "ends.py").write_text(SOURCE)
    (tmp_path / "w2w_lab" / "broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in [name for name in sys.modules if name.partition(".")[0] == "w2w_lab"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def config_file(folder: Path, endpoint: dict[str, Any]) -> Path:
    endpoints = {"mine": endpoint, "big": {"model_id": "b", "base_url": "https://a.example"}}
    raw = {"models": {"mweak": "mine", "mstrong": ["big"]}, "model_endpoints": endpoints}
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.usefixtures("lab")
def test_a_class_is_loaded_from_the_current_folder() -> None:
    """As with ``python -m``, however the program was started."""
    assert load_object("w2w_lab.ends:Mine", "params.scorer").version == "2"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "w2w_lab.nothing:Mine",
            "w2w_lab.nothing cannot be imported: ModuleNotFoundError: No module named 'w2w_lab.noth",
        ),
        ("w2w_lab.broken:Mine", "w2w_lab.broken cannot be imported: ZeroDivisionError: division by zero"),
        ("w2w_lab.ends:Main", "w2w_lab.ends has no Main; did you mean Mine?"),
        ("w2w_lab.ends:function", "w2w_lab.ends:function is not a class"),
        ("w2w_lab.ends:Unversioned", "w2w_lab.ends:Unversioned has no version; give the class one"),
        ("w2w_lab.ends", "expected an import path like my_lab.module:Class, found 'w2w_lab.ends'"),
        (".ends:Mine", "expected an import path"),
        ("w2w_lab.ends:", "expected an import path"),
    ],
)
@pytest.mark.usefixtures("lab")
def test_what_cannot_be_loaded_is_said_under_its_key(path: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_object(path, "params.scorer")
    assert str(caught.value).startswith(f"params.scorer: {says}")


def test_an_endpoint_s_class_brings_its_own_keys(lab: Path) -> None:
    path = config_file(lab, {"type": "w2w_lab.ends:Mine", "model_id": "m", "url": "x", "depth": 3})
    loaded = load_config(path, env={"MY_KEY": "k"})
    mine = loaded.endpoints["mine"]
    assert type(mine).__qualname__ == "Mine.Settings"
    assert (mine.type, mine.model) == ("w2w_lab.ends:Mine", "m")
    with pytest.raises(ConfigError, match=r"model_endpoints\.mine\.key_variable: environment variable MY_KEY is not"):
        load_config(path, env={})


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ({"type": "w2w_lab.ends:Mine"}, "model_endpoints.mine: missing key url"),
        (
            {"type": "w2w_lab.ends:Mine", "url": "x", "dept": 1},
            "model_endpoints.mine.dept: unknown key; did you mean d",
        ),
        ({"type": "w2w_lab.ends:Mine", "url": 3}, "model_endpoints.mine.url: expected str, got int"),
        ({"type": "w2w_lab.ends:Bare", "options": 3}, "model_endpoints.mine.options: expected object, got int"),
        ({"type": "w2w_lab.ends:Odd"}, "model_endpoints.mine.type: w2w_lab.ends:Odd.Settings is not a subclass of"),
        ({"type": "w2w_lab.ends:No"}, "model_endpoints.mine.type: w2w_lab.ends has no No"),
    ],
)
def test_a_mistake_in_its_keys_is_named_like_any_other(lab: Path, endpoint: dict[str, Any], says: str) -> None:
    path = config_file(lab, endpoint)
    with pytest.raises(ConfigError) as caught:
        load_config(path, env={})
    assert str(caught.value).startswith(f"{path}: {says}")


def test_without_settings_of_its_own_it_has_options(lab: Path) -> None:
    """And is called by its path where it has no model."""
    mine = load_config(config_file(lab, {"type": "w2w_lab.ends:Bare", "options": {"a": 1}}), env={}).endpoints["mine"]
    assert isinstance(mine, PluginEndpoint)
    assert (mine.options, mine.model) == ({"a": 1}, "w2w_lab.ends:Bare")


@pytest.mark.usefixtures("lab")
def test_settings_made_in_code_belong_to_the_class_they_name() -> None:
    mine = load_object("w2w_lab.ends:Mine", "key")
    assert mine.Settings(type="w2w_lab.ends:Mine", url="x").url == "x"
    with pytest.raises(ConfigError, match=r"type: expected settings of w2w_lab.ends:Mine, which are Mine.Settings"):
        PluginEndpoint(type="w2w_lab.ends:Mine")
    with pytest.raises(ConfigError, match=r"model_endpoints\.\*\.type: expected an import path"):
        PluginEndpoint(type="grpc")


def plugin_shape(monkeypatch: pytest.MonkeyPatch, version: str = "1", **changes: Any) -> dict[str, Any]:
    monkeypatch.setattr(load_object("w2w_lab.ends:Bare", "key"), "version", version)
    endpoints: dict[str, EndpointSettings] = {
        "mine": PluginEndpoint(**({"type": "w2w_lab.ends:Bare", "model_id": "m"} | changes)),
        "big": OpenAIEndpoint(model_id="b"),
    }
    config = Config(models=Models(mweak="mine", mstrong=("big",)), endpoints=endpoints)
    return result_shape(config, {}, "7")


@pytest.mark.usefixtures("lab")
def test_what_is_loaded_by_path_is_part_of_what_results_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its path, its version and its options; built-in kinds have neither key."""
    shape = plugin_shape(monkeypatch)
    assert shape["model_endpoints.mine.type"] == "w2w_lab.ends:Bare"
    assert shape["model_endpoints.mine.version"] == "1"
    assert shape["params.scorer.version"] == "7"
    assert not {"model_endpoints.big.type", "model_endpoints.big.version"} & shape.keys()
    assert plugin_shape(monkeypatch, "2") == shape | {"model_endpoints.mine.version": "2"}
    assert plugin_shape(monkeypatch, options={"a": 1}) != shape
    assert plugin_shape(monkeypatch, generation_kwargs={"temperature": 0.1}) == shape


def test_a_class_may_say_which_of_its_keys_decide_no_answer(lab: Path) -> None:
    given = {"type": "w2w_lab.ends:Mine", "url": "x", "depth": 3}
    mine = load_config(config_file(lab, given), env={"MY_KEY": "k"}).endpoints["mine"]
    assert sorted(mine.answer_settings()) == ["depth", "generation_kwargs", "model", "type", "version"]


def test_the_settings_of_a_run_are_yaml_also_where_classes_were_loaded(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions are no keys of a config: they follow as comments."""
    text = as_yaml(plugin_shape(monkeypatch))
    assert yaml.safe_load(text)["model_endpoints"]["mine"] == {
        "type": "w2w_lab.ends:Bare",
        "model_id": "m",
        "options": {},
    }
    assert "# params.scorer.version: 7\n" in text
    (lab / "pasted.yaml").write_text(text)
    assert load_config(lab / "pasted.yaml", env={"OPENAI_API_KEY": "k"}).endpoints["mine"].model == "m"
