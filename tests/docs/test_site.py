"""README and documentation: the site builds, links hold, and what is made from the code is up to date."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser import chromium
from tests.docs.reference_pages import PAGES
from tests.engine_runs import ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_TARGET = re.compile(r'(?:href|src)="([^"]+)"')
_ID = re.compile(r'\bid="([^"]+)"')


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    assert PAGES[path]() == path.read_text(), "run: python -m tests.docs.reference_pages"


def test_the_readme_is_short_and_its_links_hold() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) <= 900
    links = [link for link in _LINK.findall(readme) if not urlsplit(link).scheme]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_every_page_is_in_the_plain_text_index() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(_LINK.findall((ROOT / "docs" / "llms.txt").read_text())) == pages


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of a folder, on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_and_no_link_in_it_is_broken(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 15
    ids = {path: set(_ID.findall(page)) for path, page in pages.items()}
    broken = []
    for path, page in pages.items():
        for link in _TARGET.findall(page):
            parts = urlsplit(link.replace("&amp;", "&"))
            if parts.scheme or parts.netloc:
                assert parts.scheme == "https" or link.startswith("data:"), link
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (
                parts.fragment and unquote(parts.fragment) not in ids.get(target, {parts.fragment})
            ):
                broken.append((path.relative_to(site), link))
    assert broken == []


@pytest.mark.slow
def test_no_page_of_the_site_scrolls_sideways_and_code_of_120_columns_fits_a_desktop(site: Path) -> None:
    pages = list(site.rglob("index.html"))
    assert len(pages) > 15
    with served(site) as url, chromium() as browser:
        asked: list[str] = []
        for width in (390, 1280):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.on("request", lambda request: asked.append(request.url))
            for path in pages:
                page.goto(f"{url}{path.parent.relative_to(site)}/", wait_until="load")
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
                if width == 390 and path.parent.name == "config":
                    tables = page.locator(".md-typeset__scrollwrap")
                    tables.first.wait_for()
                    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent.slice(0, 80))"
                    assert tables.evaluate_all(wide) == [], "what a key means is in sight on a phone"
                if width == 1280:
                    hidden = page.locator("article pre > code").evaluate_all(
                        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
                    )
                    assert [code for code in hidden if max(map(len, code.splitlines())) <= 120] == [], path
            page.close()
        assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
