"""A data set on the Hub is fetched row by row, and a fetch that broke off goes on where it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.engine_runs import lines
from weak2wise.dataset import at_hand, keep
from weak2wise.errors import ConfigError

SOURCE = Path("hf:lab/questions")


class Hub:
    """Stands in for ``datasets.load_dataset``: real streaming of ``rows`` rows that breaks off before one of them."""

    def __init__(self, rows: int) -> None:
        self.rows, self.breaks_at, self.word = rows, -1, "What"
        self.given: list[int] = []

    def load_dataset(self, name: str, config: str | None, *, split: str, streaming: bool) -> Any:
        assert (name, config, split, streaming) == ("lab/questions", None, "train", True)
        return datasets.IterableDataset.from_generator(self._rows)

    def _rows(self) -> Iterator[dict[str, str]]:
        for number in range(self.rows):
            if number == self.breaks_at:
                raise ConnectionError("the connection was cut")
            self.given.append(number)
            yield {"question": f"{self.word} is {number}?", "answer": str(number)}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(50)
    monkeypatch.setattr(datasets, "load_dataset", hub.load_dataset)
    return hub


@pytest.mark.slow
def test_what_had_arrived_is_kept_and_the_next_fetch_goes_on_behind_it(hub: Hub, tmp_path: Path) -> None:
    hub.breaks_at = 30
    with pytest.raises(ConfigError, match="the connection was cut"):
        keep(SOURCE, tmp_path / "work")
    assert at_hand(SOURCE, tmp_path / "work") == SOURCE, "a part is not taken for the whole"
    (part,) = (tmp_path / "work").glob("*.part")
    assert len(lines(part)) == 30
    assert part.stat().st_mode & 0o777 == 0o600
    with part.open("ab") as file:
        file.write(b'{"question": "cut o')
    hub.breaks_at = -1
    kept = keep(SOURCE, tmp_path / "work")
    assert [line["answer"] for line in lines(kept)] == [str(number) for number in range(50)]
    assert not part.exists()
    before = len(hub.given)
    assert keep(SOURCE, tmp_path / "work") == kept
    assert len(hub.given) == before


@pytest.mark.slow
def test_a_data_set_that_has_changed_meanwhile_is_fetched_from_its_beginning(hub: Hub, tmp_path: Path) -> None:
    hub.breaks_at = 30
    with pytest.raises(ConfigError):
        keep(SOURCE, tmp_path)
    hub.breaks_at, hub.word = -1, "How much"
    assert {line["question"].partition(" is ")[0] for line in lines(keep(SOURCE, tmp_path))} == {"How much"}


@pytest.mark.parametrize("rows", [30, 29, 0])
def test_a_data_set_that_ends_where_the_part_ends_or_before(hub: Hub, tmp_path: Path, rows: int) -> None:
    hub.breaks_at = 30
    with pytest.raises(ConfigError):
        keep(SOURCE, tmp_path)
    hub.breaks_at, hub.rows = -1, rows
    assert len(lines(keep(SOURCE, tmp_path))) == rows


def test_rows_are_written_as_they_come(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the data set: long before its end, most of what has come is in the file."""
    seen: list[int] = []

    def rows() -> Iterator[dict[str, str]]:
        for number in range(300):
            seen.extend(path.stat().st_size for path in tmp_path.glob("*.part") if number == 200)
            yield {"question": "x" * 10_000, "answer": str(number)}

    monkeypatch.setattr(hub, "_rows", rows)
    size = keep(SOURCE, tmp_path).stat().st_size
    assert size > 3_000_000
    assert seen[0] > size / 2
    assert json.loads(keep(SOURCE, tmp_path).read_bytes().splitlines()[-1])["answer"] == "299"
