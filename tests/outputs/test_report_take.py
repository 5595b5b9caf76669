"""Charts of a report: nothing is cut, losses are seen, and each can be taken along as SVG and CSV."""

import csv
import io
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

from tests.browser import opened
from tests.engine_runs import lines, rewrite
from tests.finished_run import FinishedRun, command
from weak2wise.outputs.report import charts
from weak2wise.outputs.report.document import card, document
from weak2wise.outputs.report.take import Table, as_csv

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OUTSIDE = """all => all.map(svg => [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBBox(), view = svg.viewBox.baseVal;
    return box.x < view.x - 0.5 || box.x + box.width > view.x + view.width + 0.5 ||
        box.y + box.height > view.y + view.height + 3;
}).map(text => text.textContent)).flat()"""
LEVELS = [f"{100 * level / 6:.0f}%" for level in range(6)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of charts with long labels at the edges."""
    drawn = [
        charts.lines("Levels", [charts.Series("a", [0.5] * 6)], LEVELS, "hidden", "reached", below=["n=1,478"] * 6),
        charts.intervals("Values", [charts.Interval("b", 0.5, 0.123, 0.998)], "of 1", number="{:.4f}".format),
        charts.funnel("Steps", [charts.Passed("questions", 1_000_000, {"dropped": 1, "failed": 2})], 1_000_003),
    ]
    path = tmp_path_factory.mktemp("wide") / "wide.html"
    path.write_text("".join(document("wide", [card("x", one) for one in drawn])))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_no_label_is_cut_at_an_edge(wide: Path, report: Path, browser: "Browser", width: int) -> None:
    for path in (wide, report):
        with opened(browser, path, width=width) as view:
            charts_ = view.page.locator("figure > svg")
            assert charts_.count() >= 3
            assert charts_.evaluate_all(OUTSIDE) == []


@pytest.mark.slow
def test_losses_are_drawn_however_few_they_are(wide: Path, report: Path, browser: "Browser") -> None:
    with opened(browser, wide) as view:
        lost = view.page.locator("figure > svg [class^=lost]").evaluate_all("all => all.map(e => e.getBBox().width)")
        assert len(lost) == 2
        assert min(lost) >= 3
        right = view.page.locator("figure > svg .lost1").evaluate("e => e.getBBox().x + e.getBBox().width")
        assert right <= charts.WIDTH
    with opened(browser, report) as view:
        said = view.page.locator(
            "figure:has(h2:text-is('From questions to training data')) svg text"
        ).all_text_contents()
        assert said.count("nothing lost") == 4
        colours = view.page.evaluate(
            "['.left', '.lost0', '.lost1'].map(c => getComputedStyle(document.querySelector(c)).fill)"
        )
        assert len(set(colours)) == 3


def taken(view: Any) -> dict[str, str]:
    """The files behind all links of a page, by name."""
    links = view.page.locator(".take a").evaluate_all("all => all.map(link => [link.download, link.href])")
    return {name: unquote(address.split(",", 1)[1]) for name, address in links}


def saved(view: Any, kind: str, folder: Path) -> tuple[str, str]:
    """The name and the text of a file that the browser saves when the last link of this kind is clicked.

    Only one for each page: a browser may ask before it saves another.
    """
    with view.page.expect_download() as download:
        view.page.locator(".take a", has_text=kind).last.click()
    download.value.save_as(folder / "file")
    return download.value.suggested_filename, (folder / "file").read_text()


@pytest.mark.slow
def test_each_chart_can_be_saved_as_an_image_and_as_its_numbers(
    finished: FinishedRun, report: Path, browser: "Browser", tmp_path: Path
) -> None:
    with opened(browser, report) as view:
        count = view.page.locator("figure > svg").count()
        files = taken(view)
        assert [url for url in view.seen if not url.startswith("data:")] == []
    for kind in ("SVG", "CSV"):
        with opened(browser, report) as view:
            name, text = saved(view, kind, tmp_path)
            assert name.endswith(kind.lower())
            assert text == files[name]
    images = {name: text for name, text in files.items() if name.endswith(".svg")}
    assert len(images) == count == len(files) / 2
    for name, text in images.items():
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg", name
        (tmp_path / name).write_text(text)
        with opened(browser, tmp_path / name) as view:
            assert view.page.locator("svg").evaluate_all(OUTSIDE) == []
    funnel = list(csv.DictReader(io.StringIO(files["questions-through-each-step.csv"])))
    assert [int(row["left"]) for row in funnel][-1] == len(finished.emitted)
    assert sum(int(row[kind]) for row in funnel for kind in ("dropped", "failed", "not finished")) == 22 - len(
        finished.emitted
    )
    scores = list(csv.DictReader(io.StringIO(files["scores.csv"])))
    assert sum(int(row["golden traces"]) for row in scores) == len(finished.selected)
    assert all(float(row["score, from"]) < float(row["to"]) for row in scores)


def test_the_colours_of_a_file_are_the_pages_light_ones() -> None:
    style = (Path(charts.__file__).parent / "style.css").read_text()
    light = dict(re.findall(r"--(c\d|ink|quiet|rule): light-dark\((#[0-9a-f]{6})", style))
    drawn = charts.bars("x", [("a", 1, "")], 1)
    saved = unquote(re.findall(r'href="data:image/svg\+xml,([^"]*)"', drawn)[0])
    for number in range(6):
        assert f".f{number}{{fill:{light[f'c{number}']}}}" in saved
        assert f".s{number}{{stroke:{light[f'c{number}']}}}" in saved
    for name in ("ink", "quiet", "rule"):
        assert light[name] in saved


def test_a_name_is_neither_markup_nor_a_formula_in_what_is_taken_along() -> None:
    name = "=cmd|' /C calc'!A0<script>&\"\ud800\x00"
    drawn = charts.bars(name, [(name, 1, "")], 1)
    saved = [unquote(text) for text in re.findall(r'href="data:[^,]*,([^"]*)"', drawn)]
    assert "<script>" not in drawn
    ET.fromstring(saved[0])
    _, (cell, *_) = csv.reader(io.StringIO(saved[1]))
    assert cell.startswith("'=cmd")
    assert as_csv(Table(["a"], [[-1.5], ["-1.5"]])) == "a\n-1.5\n'-1.5\n"


@pytest.mark.slow
def test_two_runs_are_compared_in_one_file(
    finished: FinishedRun, tmp_path: Path, browser: "Browser", capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers are held against the files in test_side_by_side.py; here that they are shown and nothing is loaded."""
    other, path = tmp_path / "other", tmp_path / "both.html"
    shutil.copytree(finished.work, other)
    (shard,) = (other / "ledger" / "select").glob("*.jsonl")
    golden = lines(shard)
    golden[0]["record"]["score"]["score"] += 0.25
    rewrite(shard, golden)
    assert command("report", finished.work, other, "--out", path) == 0
    for width in (1200, 390):
        with opened(browser, path, width=width) as view:
            text = view.page.inner_text("body")
            assert f"{len(finished.selected)}" in view.page.locator(".use dd").first.inner_text()
            assert view.page.locator(".use dd").nth(1).inner_text() == "100%"
            assert "All settings that affect results are the same." in text
            assert "were emitted or dropped alike" in text
            (apart,) = view.page.locator("section:has(h2:text-is('Scores furthest apart')) tbody tr").all()
            assert apart.locator("td").nth(1).inner_text() == str(golden[0]["row"])
            assert view.page.evaluate("document.documentElement.scrollWidth") <= width
            assert view.seen == []
    assert command("report", finished.work, finished.work) == 2
    assert "is the same run twice" in capsys.readouterr().err
    assert command("report", finished.work, other, "--traces", "1-2") == 2
    assert command("report", finished.work, tmp_path) == 2
    assert "holds no run" in capsys.readouterr().err
    assert command("report", other, finished.work) == 0
    assert (other / "side_by_side.html").exists()
