"""The page of a comparison in a real browser: it fits any screen, loads nothing, and no name can act in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from msgspec import structs

from tests.browser import chromium, opened
from tests.compare.test_measures import LEVELS, compared, simulated
from weak2wise.outputs.comparison.facts import Comparison, Cost
from weak2wise.outputs.comparison.measures import (
    best_score,
    correlation,
    criterion,
    flattered_score,
    mean_of,
    same_winner,
)
from weak2wise.outputs.comparison.noise import noise
from weak2wise.outputs.comparison.page import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">" + "long" * 30
NAMES = ("stepmask", "oracle")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of which every foreign text would act if it could."""
    questions = compared(simulated(40), 2)
    cost = Cost(calls=720, tokens_in=123_456, tokens_out=7_890, cost_usd=0.5, seconds=12.5)
    taus = {(a, b): correlation(questions, a, b) for a in NAMES for b in NAMES}
    criteria = [criterion(questions, name, cost, taus[name, "stepmask"]) for name in NAMES]
    found = Comparison(
        work_dir=f"/data/{HOSTILE.replace('/', '')}",
        created="2026-11-27T20:00:00Z",
        weak=HOSTILE,
        strong=[HOSTILE],
        seed=0,
        draws=2,
        n_mask=LEVELS,
        majority=1,
        sample=200,
        available=50,
        compared=40,
        traces=120,
        left_out={HOSTILE: 3},
        failed={HOSTILE + "2": 1},
        best=mean_of(questions, best_score),
        best_at_most=mean_of(questions, flattered_score),
        criteria=[criteria[0], structs.replace(criteria[1], name=HOSTILE)],
        same=[[same_winner(questions, a, b) for b in NAMES] for a in NAMES],
        correlations=[[taus[a, b] for b in NAMES] for a in NAMES],
        noise=noise(questions, LEVELS, 1, beta=0.5, normalization="reference"),
        questions=questions,
    )
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text("".join(page(found)))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_any_screen_in_both_themes_loads_nothing_and_no_name_acts(
    made: Path, browser: "Browser", theme: Literal["light", "dark"], width: int
) -> None:
    with opened(browser, made, width=width, theme=theme) as view:
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.page.title() != "hit"
        assert view.page.locator("main script, main img").count() == 0
        assert view.seen == []
        charts = view.page.locator("figure > svg").evaluate_all("all => all.map(svg => svg.getAttribute('aria-label'))")
        assert len(charts) == 4
        assert all("0." in label or "%" in label or "tokens" in label for label in charts)
        outside = view.page.locator("figure > svg").evaluate_all(
            """all => all.flatMap(svg => { const box = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('circle, rect, line')].map(e => e.getBoundingClientRect())
                    .filter(r => r.left < box.left - 2 || r.right > box.right + 2 || r.bottom > box.bottom + 2); })"""
        )
        assert outside == []
