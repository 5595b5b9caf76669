"""The card beside an export: read by the hub, true to the run, and of use to who goes on with it."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.engine_runs import config_for, finish, lines, write_run
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess
from weak2wise.config import load_config
from weak2wise.config.shape import result_shape
from workers.prompts import Prompts

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")


def test_the_card_has_a_header_the_hub_reads_and_counts_that_balance(finished: FinishedRun, tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard  # noqa: PLC0415 - slow to import

    assert command("export", finished.work, "--out", tmp_path / "golden", "--top", 3) == 0
    text = (tmp_path / "golden" / "README.md").read_text()
    header = DatasetCard(text).data.to_dict()
    assert header == yaml.safe_load(text.split("---")[1])
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    assert header["size_categories"] == ["n<1K"]
    cells = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("| ") and " | " in row]
    count = {cell[0]: int(cell[1]) for cell in cells if len(cell) == 2 and cell[1].isdigit()}
    dropped = sum(number for name, number in count.items() if name.startswith("dropped"))
    assert count["in the input"] == dropped + count["failed"] + count["not finished"] + count["emitted"] == 22
    assert count["in this data set"] == len(lines(tmp_path / "golden" / "train.jsonl")) == 3
    manifest = json.loads((finished.work / "manifest.json").read_text())
    assert manifest["input"]["sha256"] in text


def test_what_was_added_to_a_cards_header_by_hand_stays(finished: FinishedRun, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    assert command("export", finished.work, "--out", tmp_path) == 0
    assert "Before you publish this data set, add its licence" in card.read_text()
    card.write_text(card.read_text().replace("---\n", "---\nlicense: mit\nlanguage: [en, de]\npretty_name: a---b\n", 1))
    assert command("export", finished.work, "--out", tmp_path, "--top", 2) == 0
    header = yaml.safe_load(card.read_text().split("\n---\n")[0])
    assert (header["license"], header["language"]) == ("mit", ["en", "de"])
    assert header["pretty_name"] == tmp_path.name, "what is ours is as it has become"
    assert "Before you publish this data set, add its licence" not in card.read_text()


@pytest.mark.slow
def test_the_cards_settings_can_be_pasted_into_a_config(tmp_path: Path) -> None:
    """With prompts and addresses added, that config is the same run's; an endpoint's name may hold dots."""
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2, beta=1e-05, outcomes={"length": "retry"})
        config["models"] |= {"mstrong": ["strong-2.5"], "truncation": None}
        config["model_endpoints"]["strong-2.5"] = config["model_endpoints"]["strong-a"]
        write_run(tmp_path, config, 4)
        finish(tmp_path)
    assert command("export", tmp_path / "work", "--out", tmp_path / "golden") == 0
    pasted = yaml.safe_load((tmp_path / "golden" / "README.md").read_text().split("```yaml")[1].split("```")[0])
    pasted["dataset"] |= config["dataset"]
    for endpoint in pasted["model_endpoints"].values():
        endpoint["base_url"] = config["model_endpoints"]["weak"]["base_url"]
    path = tmp_path / "pasted.yaml"
    path.write_text(yaml.safe_dump(pasted | {"prompts": config["prompts"]}))
    loaded = load_config(path)
    shape = result_shape(loaded, msgspec.to_builtins(Prompts.of(loaded.prompts)))
    assert shape == json.loads((tmp_path / "work" / "manifest.json").read_text())["shape"]


def test_the_card_says_which_rows_were_taken(finished: FinishedRun, tmp_path: Path) -> None:
    """Not what was asked for: there may be fewer rows than ``--top``, and then nothing is left to balance."""
    all_of_them = len(finished.emitted)
    for arguments, says in {
        (): f"**{all_of_them} rows**, all that the run emitted;",
        ("--top", 2, "--balance-by", "subject"): "**2 rows**, the 2 with the highest scores, balanced by `subject`;",
        ("--top", 1000, "--balance-by", "subject"): f"**{all_of_them} rows**, all that the run emitted;",
        ("--top", 1000, "--min-score", 0): f"{all_of_them} rows**, all that the run emitted, scores of at least 0;",
    }.items():
        assert command("export", finished.work, "--out", tmp_path, *arguments) == 0
        assert says in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_a_card_tells_numbers_as_they_are_and_no_place_on_this_machine(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        config["model_endpoints"]["strong-a"]["max_tokens"] = 777
        write_run(tmp_path, config, 4)
        finish(tmp_path)
    manifest = tmp_path / "work" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('.model": "strong-a"', '.model": "/home/me/models/Strong-A"'))
    assert command("export", tmp_path / "work", "--out", tmp_path / "golden", "--provenance") == 0
    text = (tmp_path / "golden" / "README.md").read_text()
    assert "max_tokens: 777\n" in text
    assert "| `prompt` | the question |" in text
    assert "/home/me" not in text + (tmp_path / "golden" / "train.jsonl").read_text()
    assert "| strong/strong-a | Strong-A |" in text
