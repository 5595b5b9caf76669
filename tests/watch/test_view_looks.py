"""``weak2wise view`` in a real browser: runs can be read on any screen, and no text of them acts in the page."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium
from tests.engine_runs import lines, rewrite
from tests.finished_run import FinishedRun
from tests.watch.viewing import viewing

pytestmark = pytest.mark.slow

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e</details>\x1b[31m $\\frac{1}{2}$"
NAME = "<img src=x onerror=alert(1)>"


def hostile(run: FinishedRun, folder: Path) -> Path:
    """A copy of a run whose folder, model, questions and messages are made to act in a page."""
    work = folder / NAME / NAME
    shutil.copytree(run.work, work, ignore=shutil.ignore_patterns("*.index"))
    manifest = json.loads((work / "manifest.json").read_text())
    manifest["shape"]["model_endpoints.weak.model"] = HOSTILE
    manifest["shape"]["params.scorer_note"] = HOSTILE
    (work / "manifest.json").write_text(json.dumps(manifest))
    for name in ("input", "select", "filter"):
        shard = work / "ledger" / name / "00000.jsonl"
        rows = lines(shard)
        for row in rows:
            row |= {key: HOSTILE for key in ("message", "title", "kind", "reason") if key in row}
            if "record" in row:
                row["record"]["question"]["text"] = HOSTILE
        rewrite(shard, rows)
    return work


@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (390, "dark")])
def test_no_text_of_a_run_acts_in_its_page_and_all_fits_the_screen(
    finished: FinishedRun, tmp_path: Path, width: int, theme: Any
) -> None:
    work = hostile(finished, tmp_path)
    with viewing(work, finished.work) as url, chromium() as browser:
        base = url.partition("?")[0]
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
        seen: list[str] = []
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        page.on("request", lambda request: None if request.url.startswith(base) else seen.append(request.url))
        for path, ready in (("", ".card a"), ("run/0/", "details.trace"), ("compare?one=0&other=1", "#measures .card")):
            page.goto(url if not path else base + path)
            page.locator(ready).first.wait_for()
            if path == "run/0/":
                page.locator("#failed .losses li", has_text="document.title").first.wait_for()
                page.locator("#dropped", has_text="document.title").wait_for()
                page.locator("details.trace > summary").first.click()
                page.locator(".hint").first.wait_for()
                page.fill("#search", "<SCRIPT>")
                page.locator("#none", has_text="traces shown").wait_for()
                page.select_option("#sort", "worst")
                page.locator("details.trace").first.wait_for()
                assert page.inner_text("h1") == f"{NAME}/{NAME}"
                assert "onerror" in page.inner_text("#about")
            assert page.locator("main script, main img, header script, header img").count() == 0, path
            assert "owned" not in page.title().partition("document.title")[0], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert seen == []


def test_a_phone_shows_progress_time_and_money_first_and_a_search_finds_its_trace(
    finished: FinishedRun,
) -> None:
    with viewing(finished.work) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(url)
        page.locator("details.trace").first.wait_for()
        assert page.locator("#main dt").all_text_contents() == ["done", "cost"]
        box = page.locator("#main").bounding_box()
        assert box
        assert box["y"] + box["height"] < 500, "without scrolling"
        assert page.locator("table").count() == 0, "a wide table is no use on a phone"
        question = finished.selected[0]["question"]
        page.fill("#search", question)
        page.locator("#none", has_text="1 of ").wait_for()
        assert question in page.locator("details.trace .title").inner_text()
        page.fill("#search", "stands in no trace")
        page.locator("#none", has_text="No trace has this text.").wait_for()
        page.fill("#search", "")
        with page.expect_response("**/traces?sort=best**"):
            page.select_option("#sort", "best")
        page.wait_for_timeout(2000)
        keys = [json.loads(str(trace.get_attribute("data-key"))) for trace in page.locator("details.trace").all()]
        rows = [key["row"] for key in keys]
        scores = {line["row"]: line["score"] for line in finished.selected}
        assert [scores[row] for row in rows] == sorted(scores.values(), reverse=True)[: len(rows)]
