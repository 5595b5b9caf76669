"""All golden traces by pages: those that fit into one file, spread evenly, and any others by their ranks."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from tests.browser import opened
from tests.finished_run import FinishedRun, command
from weak2wise.ledger.account import Totals
from weak2wise.outputs.report import pages
from weak2wise.outputs.report.facts import Facts
from weak2wise.outputs.report.pages import evenly, rows_at

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def ranked(finished: FinishedRun) -> list[int]:
    """The rows of the golden traces, the best score first, equal ones in order."""
    return [line["row"] for line in sorted(finished.selected, key=lambda line: (-line["score"], line["row"]))]


def shown(page: str) -> list[int]:
    """The rows of the traces in a report."""
    return [int(row) for row in re.findall(r"· row (\d+)</span>", page)]


@pytest.mark.slow
def test_all_golden_traces_are_there_from_the_best_to_the_worst(
    finished: FinishedRun, report: Path, browser: "Browser"
) -> None:
    assert shown(report.read_text()) == ranked(finished)
    with opened(browser, report) as view:
        said = view.page.inner_text("section:has(h2:text-is('Golden traces')) > p")
        assert said == f"All {len(finished.selected)}, from the best score to the worst."
        assert view.page.locator("details.trace").first.is_visible()


@pytest.mark.slow
def test_a_page_opens_without_a_script_and_closes_the_one_before(
    finished: FinishedRun, tmp_path: Path, browser: "Browser", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 4)
    path = tmp_path / "report.html"
    assert command("report", finished.work, "--out", path) == 0
    with opened(browser, path, width=390) as view:
        listed = view.page.locator("details.page")
        assert listed.count() == -(-len(finished.selected) // 4) > 1
        listed.nth(1).locator("> summary").click()
        assert [place.get_attribute("open") for place in listed.all()[:2]] == [None, ""]
        assert view.page.locator("details.page").nth(1).locator("details.trace").first.is_visible()
        assert not view.page.locator("details.page").nth(0).locator("details.trace").first.is_visible()
        assert view.seen == []
    assert shown(path.read_text()) == ranked(finished)


def test_what_does_not_fit_into_a_file_is_said_and_can_be_asked_for(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds no more bytes of traces than that, spread from the best to the worst."""
    path, every = tmp_path / "report.html", ranked(finished)
    assert command("report", finished.work, "--out", path) == 0
    whole = path.stat().st_size
    monkeypatch.setattr(pages, "MOST_BYTES", 40_000)
    assert command("report", finished.work, "--out", path) == 0
    some = shown(path.read_text())
    assert 2 <= len(some) < len(every)
    assert path.stat().st_size < whole
    assert [some[0], some[-1]] == [every[0], every[-1]]
    assert some == [row for row in every if row in some]
    assert f"<p>{len(some)} of all {len(every)}, evenly from the best score to the worst" in path.read_text()
    monkeypatch.undo()
    assert command("report", finished.work, "--out", path, "--traces", "2-4") == 0
    assert shown(path.read_text()) == every[1:4]
    assert f"Ranks 2 to 4 of {len(every)}" in path.read_text()
    assert command("report", finished.work, "--out", path, "--traces", f"3-{10**9}") == 0
    assert shown(path.read_text()) == every[2:]


@pytest.mark.parametrize("given_", ["0-3", "4-2", "a-b", "3", "1-2-3", "-1-2", "1000-1001"])
def test_ranks_that_are_none_are_refused_in_a_line(
    finished: FinishedRun, tmp_path: Path, given_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("report", finished.work, "--out", tmp_path / "r.html", f"--traces={given_}") == 2
    assert f"--traces {given_}: " in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


@pytest.mark.slow
@given(st.integers(0, 300))
def test_every_number_comes_once_and_what_came_so_far_is_spread(count: int) -> None:
    order = list(evenly(count))
    assert sorted(order) == list(range(count))
    for taken in range(3, count + 1):
        gaps = [b - a for a, b in zip(sorted(order[:taken]), sorted(order[:taken])[1:], strict=False)]
        assert max(gaps) <= 4 * count / taken + 2
        assert min(order[:taken]) == 0
        assert max(order[:taken]) == count - 1


@given(st.lists(st.tuples(st.integers(1, 500), st.sampled_from([0.0, 0.25, 0.5, 1.0])), unique_by=lambda pair: pair[0]))
def test_ranks_go_from_the_best_score_to_the_worst_and_equal_scores_by_row(golden: list[tuple[int, float]]) -> None:
    facts = Facts(totals=Totals(rows=0, emitted=0, dropped={}, failed={}, unfinished=0), whole=True, through={})
    facts.rows.extend(row for row, _ in golden)
    facts.scores.extend(score for _, score in golden)
    every = [row for row, _ in sorted(golden, key=lambda pair: (-pair[1], pair[0]))]
    ranks = list(range(len(golden)))[::-2]
    assert rows_at(facts, ranks) == [every[rank] for rank in ranks]
