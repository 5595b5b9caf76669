"""A real headless Chromium for tests that look at pages, and everything a page did that it should not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Start the browser; where there is none the test fails and says what to install."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("the page tests need a browser: apt-get install chromium (scripts/setup.sh does it for root)")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a browser has to be there first

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: "Browser", path: Path, *, width: int = 1200, theme: Literal["light", "dark"] = "light"
) -> Iterator[Any]:
    """The page in a file, with ``seen``: console messages, errors, dialogs, and requests for anything but itself."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    seen: list[str] = []
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: seen.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    yield SimpleNamespace(page=page, seen=seen)
    page.close()
