"""A student compares: two settings of one run, and the criteria that choose a trace, without paying twice."""

import json
import re
from pathlib import Path

import pytest

import weak2wise
from tests.days.day import Day
from tests.loopback import LoopbackProcess

pytestmark = pytest.mark.slow
QUESTIONS = 40


def test_a_students_day(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        day = Day(tmp_path, server)
        day.types("weak2wise init deepseek --out run.yaml")
        day.writes_questions(QUESTIONS)
        day.edits()
        _first_a_hundred(day)
        _forks(day)
        _compares_criteria(day)
        _reads_it_in_python(day)


def _first_a_hundred(day: Day) -> None:
    """``--limit 30`` of 40 questions, then the rest: the second start asks nothing again."""
    day.types("weak2wise --config run.yaml --limit 30")
    first = day.server.stats().models["strong-a"].received
    said = day.types("weak2wise --config run.yaml --page 8000")
    assert re.search(rf"questions +{QUESTIONS}\b", said)
    run = weak2wise.open_run(day.folder / "data" / "work")
    passed = run.summary.totals.emitted
    assert day.server.stats().models["strong-a"].received == 3 * passed
    assert 0 < first < 3 * passed


def _forks(day: Day) -> None:
    before = day.server.stats().models["strong-a"].received
    said = day.types("weak2wise fork data/work data/work-8 --set params.n_mask=8")
    assert "params.n_mask" in said
    day.types("weak2wise run --config data/work-8/config.yaml")
    assert day.server.stats().models["strong-a"].received == before
    six, eight = (weak2wise.open_run(day.folder / "data" / name) for name in ("work", "work-8"))
    assert [row.id for row in six.golden()] == [row.id for row in eight.golden()]
    assert "side_by_side.html" in day.types("weak2wise report data/work data/work-8")


def _compares_criteria(day: Day) -> None:
    command = "weak2wise compare data/work --config run.yaml --scorers random,shortest,full_hint --seeds 3 --sample 24"
    said = day.types(command)
    for criterion in ("stepmask", "random", "shortest", "full_hint"):
        assert re.search(rf"^{criterion} +\d\.\d+ \[", said, re.MULTILINE)
    compared = json.loads((day.folder / "data" / "work" / "compare" / "compare.json").read_text())
    assert compared["questions"]
    assert (day.folder / "data" / "work" / "compare" / "compare.html").is_file()


def _reads_it_in_python(day: Day) -> None:
    run = weak2wise.open_run(day.folder / "data" / "work")
    golden = list(run.golden())
    assert len(golden) == run.summary.totals.emitted
    table = run.to_pandas("scores")
    assert set(table["row"]) >= {row.row for row in golden}
