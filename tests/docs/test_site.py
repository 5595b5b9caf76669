"""README and documentation: the site builds, links hold, and what is made from the code is up to date."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.reference_pages import PAGES
from tests.engine_runs import ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_TARGET = re.compile(r'(?:href|src)="([^"]+)"')
_ID = re.compile(r'\bid="([^"]+)"')


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


@pytest.mark.slow
def test_the_site_builds_and_no_link_in_it_is_broken(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    pages = {path: path.read_text() for path in tmp_path.rglob("*.html") if path.name != "404.html"}
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
                broken.append((path.relative_to(tmp_path), link))
    assert broken == []
