"""The page about costs: its commands run, and print what it says."""

import re
from pathlib import Path

import pytest
import yaml

from tests.docs.cost_page import PAGE, blocks, outputs
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.presets import presets

_NUMBER = re.compile(r"[\d][\d,.:]*( (k|M|s|minutes|hours)\b)?")


def shape(text: str) -> list[str]:
    """The text without numbers, which are others on another machine, and without the width of columns."""
    return [_NUMBER.sub("#", " ".join(line.split())) for line in text.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_commands_of_the_page_print_what_it_says(tmp_path: Path) -> None:
    page = PAGE.read_text()
    said = blocks(page)
    assert {command.split()[0] for command, _ in said} == {"init", "check", "preview", "--config", "status", "batch"}
    for (command, shown), (_, printed) in zip(said, outputs(tmp_path, page), strict=True):
        assert shape(" ".join(printed.split())) == shape(" ".join(shown.split())), command
        if command.startswith("check"):  # what is assumed does not depend on the machine
            roles = ("all ", "weak ", "strong/", "judge ", "truncation ")
            table = [line.split() for line in printed.splitlines() if line.startswith(roles) and "about" not in line]
            assert len(table) == 5
            assert all(row in [line.split() for line in shown.splitlines()] for row in table)


def test_the_keys_on_the_page_are_those_of_a_config_and_its_lanes_are_known() -> None:
    page = PAGE.read_text()
    prices = {"input": 1.32, "output": 3.96}
    off_peak = re.search(r"off_peak: (\{.*\})", page)
    assert off_peak
    given = {"prices": prices | {"off_peak": yaml.safe_load(off_peak[1])}, "model_id": "m"}
    decode_endpoint(given, "model_endpoints.e")
    lane = {"lane": "flex", "lane_fallback": "wait", "model_id": "m"}
    decode_endpoint(lane, "model_endpoints.e")
    for name, preset in presets().items():
        assert ("flex" in preset.lanes) == (name in {"openai", "dashscope", "volcengine", "gemini", "groq"}), name
        assert not preset.lanes or preset.about.split()[0].rstrip(",") in page or name in page.casefold()
