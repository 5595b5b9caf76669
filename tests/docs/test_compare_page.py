"""The page about comparisons: its commands run, and print what it says."""

from pathlib import Path

import pytest

from tests.docs.compare_page import PAGE, outputs
from tests.docs.cost_page import blocks
from tests.docs.test_cost_page import shape


@pytest.mark.slow
def test_the_commands_of_the_page_print_what_it_says(tmp_path: Path) -> None:
    page = PAGE.read_text()
    said = blocks(page)
    assert [command.split()[0] for command, _ in said] == ["--config", "compare"]
    for (command, shown), (_, printed) in zip(said, outputs(tmp_path, page), strict=True):
        assert shape(printed) == shape(shown), command
        # The server's answers depend on what is asked alone, so the measures are the same everywhere.
        first, same = ([line.split()[:4] for line in text.splitlines()[:6]] for text in (printed, shown))
        assert first == same
    compared = tmp_path / "data" / "work" / "compare"
    assert {"compare.html", "compare.json"} <= {path.name for path in compared.iterdir()}
    assert "every regret's interval holds 0" in page
