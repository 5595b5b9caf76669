"""The report in a real browser: it can be read, fits any screen, loads nothing, and no trace can act in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.browser import opened
from tests.finished_run import command

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def _ratio(colors: list[list[float]]) -> float:
    """Contrast of two sRGB colours as WCAG has it."""
    light = [
        sum(
            weight * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for weight, c in zip((0.2126, 0.7152, 0.0722), (c / 255 for c in color), strict=True)
        )
        for color in colors
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_cut_and_what_was_missed_can_be_read(
    report: Path, browser: "Browser", theme: Literal["light", "dark"]
) -> None:
    with opened(browser, report, theme=theme) as view:
        ask = """([what, of, under, by]) => { const a = document.querySelector(what), b = document.querySelector(under);
            const rgb = (e, p) => getComputedStyle(e)[p].match(/[\\d.]+/g).slice(0, 3).map(Number);
            return [rgb(a, of), rgb(b, by), Number(getComputedStyle(a).opacity)]; }"""
        for what, of, under, by in (
            (".gone", "color", "main > section:last-child", "backgroundColor"),
            (".cells .no + .sign", "stroke", ".cells .no", "fill"),
            (".cells .yes + .sign", "stroke", ".cells .yes", "fill"),
            (".cells .unasked + .sign", "stroke", "main > section:last-child", "backgroundColor"),
        ):
            front, back, opacity = view.page.evaluate(ask, [what, of, under, by])
            assert opacity == 1
            assert _ratio([front, back]) >= 4.5, what
        regions = view.page.locator(".scroll").evaluate_all("all => all.map(e => [e.role, e.ariaLabel])")
        assert len(regions) > 3
        assert all(role == "region" and label for role, label in regions)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_any_screen_in_both_themes_and_loads_nothing(
    report: Path, browser: "Browser", theme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, report, width=width, theme=theme) as view:
        for trace in view.page.locator("details.trace summary").all():
            trace.click()
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = view.page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        brightness = [sum(map(int, color.strip("rgb()").split(",")[:3])) for color in (ink, paper)]
        assert (brightness[0] < brightness[1]) == (theme == "light")
        assert all(view.page.locator("svg[role=img]").evaluate_all("all => all.map(e => !!e.ariaLabel)"))
        assert view.seen == []


@pytest.mark.slow
def test_a_hostile_trace_does_nothing(hostile: Path, browser: "Browser") -> None:
    assert command("report", hostile) == 0
    report = hostile / "report.html"
    assert report.stat().st_size < 500_000
    with opened(browser, report, width=390) as view:
        view.page.locator("details.trace summary").click()
        view.page.wait_for_timeout(100)
        assert view.seen == []
        assert "hit" not in view.page.title()
        assert view.page.locator("script, img, iframe, a:not([download]), [onerror], [style]").count() == 0
        links = view.page.locator("[href]").evaluate_all("all => all.map(e => e.getAttribute('href').slice(0, 14))")
        assert {link.partition(";")[0].partition(",")[0] for link in links} == {"data:image/svg", "data:text/csv"}
        assert view.page.locator("style").count() == 1
        assert view.page.locator("footer").is_visible()
        assert view.page.locator("footer").evaluate("e => e.parentElement === document.body")
        assert view.page.evaluate("document.documentElement.scrollWidth") <= 390
        shown = view.page.inner_text("body")
        assert "<script>document.title='hit'</script>" in shown
        assert not set("\x1b\x00\u202e\u2066\u200f") & set(shown)
        assert "⟨U+202E⟩" in shown
        assert view.page.locator("details.trace math mfrac").count() > 0


@pytest.mark.slow
def test_on_a_phone_no_fact_of_a_table_is_out_of_sight_and_each_has_its_name(report: Path, browser: "Browser") -> None:
    with opened(browser, report, width=390) as view:
        view.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        cells = view.page.locator(".cards td").evaluate_all(
            """all => all.map(cell => {
                const text = document.createRange();
                text.selectNodeContents(cell);
                return [cell.closest('.cards').ariaLabel, getComputedStyle(cell, '::before').content,
                    text.getBoundingClientRect().right]; })"""
        )
        assert {table for table, _, _ in cells} >= {"Tokens", "Slowest questions", "Failed questions", "Settings"}
        assert {name for table, name, _ in cells if table == "Failed questions"} == {
            f'"{name}"' for name in ("row", "question", "what failed", "message")
        }
        assert [cell for cell in cells if cell[2] > 390] == []
    with opened(browser, report, width=1200) as view:
        assert view.page.locator(".cards td").first.evaluate("e => getComputedStyle(e, '::before').content") == "none"
        assert view.page.locator(".cards th").first.is_visible()
