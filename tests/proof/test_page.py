"""The proof's page in a real browser: it can be read, fits any screen, loads nothing, and no name can act in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from msgspec import structs

from tests.browser import chromium, opened
from tests.proof.simulated import proof_of
from weak2wise.proof.page import page
from weak2wise.proof.result import Proof
from weak2wise.proof.words import markdown

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def proof() -> Proof:
    return proof_of({"winners": 0.12, "random": 0.1})


def _written(proof: Proof, folder: Path) -> Path:
    path = folder / "proof.html"
    path.write_text("".join(page(proof)), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_any_screen_in_both_themes_and_loads_nothing(
    proof: Proof, browser: "Browser", tmp_path: Path, theme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, _written(proof, tmp_path), width=width, theme=theme) as view:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = view.page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        brightness = [sum(map(int, color.strip("rgb()").split(",")[:3])) for color in (ink, paper)]
        assert (brightness[0] < brightness[1]) == (theme == "light")
        assert all(view.page.locator("svg[role=img]").evaluate_all("all => all.map(e => !!e.ariaLabel)"))
        assert view.page.locator("figure").count() == 4
        overlaps = view.page.evaluate(
            """() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
                const boxes = [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect());
                return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => a.left < b.right - 1
                    && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2));
            }).length"""
        )
        assert overlaps == 0
        assert view.seen == []


@pytest.mark.slow
def test_it_says_what_was_claimed_what_was_found_and_what_to_bear_in_mind(
    proof: Proof, browser: "Browser", tmp_path: Path
) -> None:
    with opened(browser, _written(proof, tmp_path)) as view:
        said = view.page.inner_text("body")
    for text in (
        proof.verdict(),
        "before anything was trained",
        "200 questions, 4 answers to each",
        "take the same trace for 62 % of the questions",
        "underpowered",
        "Share of ones among 1,840 mask bits: 22.0 %",
        "weak2wise prove --config run.yaml",
    ):
        assert text in said, text
    primary = proof.primary
    assert f"{100 * primary.difference.value:+.1f}" in said
    assert f"{100 * primary.detectable:.1f}" in said


@pytest.mark.slow
def test_names_cannot_act_in_the_page_or_break_the_markdown(browser: "Browser", tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>|`x`"
    proof = structs.replace(
        proof_of({"winners": 0.1}, name=hostile), added=[hostile], warnings=[hostile], repeat={hostile: hostile}
    )
    with opened(browser, _written(proof, tmp_path)) as view:
        view.page.wait_for_timeout(100)
        assert view.seen == []
        assert (
            view.page.locator(
                "script, img, iframe, a:not([download]), [href]:not([download]), [onerror], [style]"
            ).count()
            == 0
        )
    tables = [line for line in markdown(proof).splitlines() if line.startswith("| ") and "img" in line]
    assert tables
    assert all(line.count("|") - line.count("\\|") == 3 for line in tables)


def test_a_training_without_losses_and_a_step_that_is_no_number_leave_a_page(tmp_path: Path) -> None:
    proof = proof_of({"winners": 0.1})
    none, bad = proof.training
    odd = structs.replace(
        proof, training=[structs.replace(none, losses=()), structs.replace(bad, losses=((1, 2.0), (2, float("nan"))))]
    )
    assert "Training loss" in _written(odd, tmp_path).read_text()
    assert "nan" not in _written(odd, tmp_path).read_text().partition("<section><h2>Training")[0]


def test_no_p_value_is_said_to_be_0(tmp_path: Path) -> None:
    """Of a large effect it is too small for a number on the page, and may be 0 in the machine."""
    clear = proof_of({"winners": 0.5})
    assert clear.primary.difference.p < 1e-12
    assert "| under 0.0001 | one test |" in markdown(clear)
    assert "under 0.0001" in _written(clear, tmp_path).read_text()
