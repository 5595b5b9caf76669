"""axe-core finds no serious fault on the page of a run, in the view of several, and in the report."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.browser import chromium
from tests.finished_run import FinishedRun, command
from tests.watch.viewing import viewing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = "axe-core@4.14.1"
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm's registry."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("axe-core comes from npm, which is not installed")
    words = [npm, "pack", AXE, "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm's registry does not give {AXE}: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script
        return script.read().decode()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as found:
        yield found


def faults(page: Any, axe: str) -> list[str]:
    """The serious faults of a page as it is now, and where they are."""
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 10, "it has looked"
    return [
        f"{fault['id']}: {node['target']}: {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.removeAttribute('name'); each.open = true; })"


@pytest.mark.slow
@pytest.mark.parametrize("look", [(1200, "light"), (390, "dark")])
def test_everybody_can_use_the_pages(
    finished: FinishedRun, tmp_path: Path, browser: "Browser", axe: str, look: tuple[int, Literal["light", "dark"]]
) -> None:
    width, theme = look
    shutil.copytree(finished.work, tmp_path / "other")
    assert command("report", tmp_path / "other") == 0
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True, reduced_motion="reduce"
    )
    page = context.new_page()
    with viewing(finished.work, tmp_path / "other") as url:
        base = url.partition("?")[0]
        page.goto(url)
        for path, ready in (
            ("", ".card a"),
            ("run/1/", "details.trace"),
            ("compare?one=0&other=1", "#sides .card"),
        ):
            page.goto(base + path)
            page.locator(ready).first.wait_for()
            if path.startswith("run"):
                page.locator("#failed .losses li").first.wait_for()
                page.evaluate(OPEN_ALL)
                page.locator(".hint").first.wait_for()
                page.evaluate(OPEN_ALL)
            assert faults(page, axe) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.goto((tmp_path / "other" / "report.html").as_uri())
        page.evaluate(OPEN_ALL)
        assert faults(page, axe) == [], "report"
    context.close()
