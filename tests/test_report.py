"""The report in a real browser: it shows what the ledger holds, loads nothing, and no trace can act in it."""

import json
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
import yaml

from tests.browser import chromium, opened
from tests.engine_runs import finish, lines
from tests.finished_run import FinishedRun, command
from weak2wise.ledger.manifest import InputDigest, Manifest
from weak2wise.ledger.outcomes import Done, Failed
from weak2wise.outputs.report.charts import mark
from weak2wise.outputs.report.spread import doubling, even
from weak2wise.outputs.report.text import answer, escape, prose, title
from weak2wise.outputs.report.traces import end_of_prefix
from workers.records import Candidate, Golden, Question, Scored, SftRow
from workers.scorers.masking import score

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert command("report", finished.work, "--out", path) == 0
    return path


def table(page: Any, heading: str) -> list[list[str]]:
    """The body of the table below a heading."""
    rows = page.locator(f"section:has(h2:text-is('{heading}')) tbody tr, figure:has(h2:text-is('{heading}')) tbody tr")
    return [row.locator("td").all_text_contents() for row in rows.all()]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_totals_balance_and_are_those_of_the_run(finished: FinishedRun, report: Path, browser: "Browser") -> None:
    totals = json.loads((finished.work / "summary.json").read_text())["totals"]
    with opened(browser, report) as view:
        names = view.page.locator(".tile dt").all_text_contents()
        counts = dict(zip(names, map(number, view.page.locator(".tile dd").all_text_contents()), strict=True))
    assert counts == {
        "questions": totals["rows"],
        "emitted": len(finished.emitted),
        "dropped": sum(totals["dropped"].values()),
        "failed": len(lines(finished.work / "failed.jsonl")),
        "unfinished": 0,
    }
    assert counts.pop("questions") == sum(counts.values())


def test_the_step_mask_curve_is_that_of_the_scored_candidates(
    finished: FinishedRun, report: Path, browser: "Browser"
) -> None:
    right: dict[str, Counter[int]] = defaultdict(Counter)
    asked: dict[str, Counter[int]] = defaultdict(Counter)
    for candidate in lines(finished.work / "scored_candidates.jsonl"):
        for level, bit in enumerate(candidate["debug"]["s_list"]):
            if bit is not None:
                asked[candidate["m_strong"]][level] += 1
                right[candidate["m_strong"]][level] += bit
    expected = [[name, *(f"{right[name][i]}/{asked[name][i]}" for i in range(6))] for name in sorted(asked)]
    assert expected
    with opened(browser, report) as view:
        assert table(view.page, "Step-Mask") == expected
        said = view.page.get_by_role("img", name="Success of the weak LLM").get_attribute("aria-label")
    assert ", ".join(f"n={sum(asked[name][i] for name in asked)}" for i in range(6)) in said


def test_what_racing_left_unasked_is_said_beside_what_it_bends(
    finished: FinishedRun, report: Path, hostile: Path, browser: "Browser"
) -> None:
    """Losers are not asked at light levels, so that those look better than they are; not where all was asked."""
    unknown = sum(
        None in candidate["debug"]["s_list"] for candidate in lines(finished.work / "scored_candidates.jsonl")
    )
    assert unknown
    with opened(browser, report) as view:
        said = view.page.inner_text("figure:has(h2:text-is('Step-Mask')) figcaption")
        assert "light levels look better than they are" in said
        assert f"{unknown} of " in said
        scores = view.page.locator("figure:has(h2:text-is('Scores'))")
        assert scores.locator(".legend").inner_text().split("\n") == ["golden traces", "golden traces and close losers"]
        assert f"of {unknown} other losers only an upper bound is known" in scores.inner_text()
    assert command("report", hostile) == 0
    with opened(browser, hostile / "report.html") as view:
        said = view.page.inner_text("main")
        assert "look better" not in said
        assert "upper bound" not in said
        assert view.page.locator("figure:has(h2:text-is('Scores')) .legend li").all_inner_texts()[1] == "all traces"


def test_tokens_are_those_of_the_journal(finished: FinishedRun, report: Path, browser: "Browser") -> None:
    spent: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for shard in finished.work.glob("ledger/journal/*"):
        for paid in lines(shard):
            usage = paid["completion"].get("usage", {})
            used = [1, *(usage.get(key, 0) for key in ("prompt_tokens", "cached_tokens", "completion_tokens"))]
            spent[paid["role"]] = [a + b for a, b in zip(spent[paid["role"]], used, strict=True)]
    with opened(browser, report) as view:
        rows = {row[0]: [number(cell) for cell in row[2:7]] for row in table(view.page, "Tokens")}
        cost = {row[0]: float(row[7]) for row in table(view.page, "Tokens")}
        each = {row[0]: float(row[8]) for row in table(view.page, "Tokens")}
        said = view.page.locator("section:has(h2:text-is('Tokens')) > p").inner_text()
    assert {role: row[:4] for role, row in rows.items()} == spent
    for row in rows.values():
        assert row[4] == round(row[3] / len(finished.emitted))
    assert each.pop("strong/strong-a") == pytest.approx(cost["strong/strong-a"] / len(finished.emitted), abs=1e-5)
    assert set(each.values()) == {0.0}
    assert cost.pop("strong/strong-a") == round(
        (2 * spent["strong/strong-a"][1] + 8 * spent["strong/strong-a"][3]) / 1e6, 4
    )
    assert set(cost.values()) == {0.0}
    summary = json.loads((finished.work / "summary.json").read_text())
    assert f"{sum(role['cost_usd'] for role in summary['roles']) / len(finished.emitted):,.4f} a row emitted" in said


def test_what_was_estimated_and_what_was_paid_in_vain_is_said(
    finished: FinishedRun, tmp_path: Path, browser: "Browser"
) -> None:
    shutil.copytree(finished.work, tmp_path / "work")
    (shard,) = (tmp_path / "work" / "ledger" / "journal").glob("*")
    journal = lines(shard)
    for paid in journal[2:5]:
        paid["completion"]["usage"] = {"prompt_tokens": 10, "completion_tokens": 10, "estimated": True}
    lost = journal[0] | {"key": "", "cost_usd": 0.0042}
    shard.write_text("".join(json.dumps(paid) + "\n" for paid in [*journal, lost]))
    assert command("report", tmp_path / "work") == 0
    with opened(browser, tmp_path / "work" / "report.html") as view:
        said = view.page.locator("section:has(h2:text-is('Tokens')) > p").inner_text()
        costs = [float(row[7]) for row in table(view.page, "Tokens")]
    assert "; those of 3 answers, which came without or broke off, are estimated." in said
    assert "0.0042 went for answers that could not be used." in said
    whole = float(said.partition("They cost ")[2].split()[0])
    assert 0 < whole < 1
    assert whole == pytest.approx(sum(costs), abs=0.001)


def test_twelve_strong_models_have_marks_of_their_own() -> None:
    assert len({mark(number, 0, 0) for number in range(12)}) == 12


def test_winners_lengths_and_failures_are_those_of_the_files(
    finished: FinishedRun, report: Path, browser: "Browser"
) -> None:
    wins = Counter(line["m_strong"] for line in finished.selected)
    with opened(browser, report) as view:
        said = view.page.get_by_role("img", name="Golden traces by strong model").get_attribute("aria-label")
        for name, count in wins.items():
            assert f"{name}: {count} " in said
        failed = [[number(row[0]), row[2]] for row in table(view.page, "Failed questions")]
        assert view.page.locator("section:has(h2:text-is('Failed questions')) > p").inner_text() == (
            "2 input lines cannot be read, see failed.jsonl. Trying again does not mend that: append corrected lines "
            "to the input and go on with --resume force."
        )
        assert failed == [[f["row"], f"{f['stage']}/{f['kind']}"] for f in lines(finished.work / "failed.jsonl")]
        kept = sum(len(x["truncated_normal"]) for x in finished.selected)
        whole = sum(len(x["chosen_normal"]) for x in finished.selected)
        assert f"{100 * kept / whole:.0f}% of all text is kept" in view.page.inner_text("main")
        seconds = [float(row[2]) for row in table(view.page, "Slowest questions")]
        assert seconds == sorted(seconds, reverse=True) != []


def test_what_models_did_that_the_settings_name_no_more_is_still_counted(
    finished: FinishedRun, report: Path, tmp_path: Path, browser: "Browser"
) -> None:
    """After ``--resume force`` with a strong model fewer and another weak one."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["models"] |= {"mstrong": ["strong-b"], "mweak": "other"}
    config["model_endpoints"]["other"] = config["model_endpoints"]["weak"] | {"model_id": "another"}
    config["dataset"] |= {"work_dir": str(tmp_path / "work"), "finetune_out": str(tmp_path / "out.jsonl")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    finish(tmp_path, "--resume", "force", code=1)
    assert command("report", tmp_path / "work") == 0
    reports = []
    for path in (tmp_path / "work/report.html", report):
        with opened(browser, path) as view:
            wins = view.page.get_by_role("img", name="Golden traces by strong model").get_attribute("aria-label")
            reports.append(
                (sorted(row[2:] for row in table(view.page, "Tokens")), sorted(wins.split(". ")[1].split("; ")))
            )
    assert reports[0] == reports[1]
    assert len(reports[0][1]) == 2


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


HOSTILE = (
    "<script>document.title='hit'</script></script><img src=x onerror=\"document.title='hit'\">"
    "<style>body{display:none}</style></div></details><!-- \x1b[2J\x1b[31m \x00 \u202e\u2066\u200f "
    r"\(\text{<script>document.title='hit'</script>}\) $\href{javascript:alert(1)}{x}$ \[\frac{1}{2}\] {{ & &lt; "
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work_dir whose every text would act if it could; one of them is a megabyte long."""
    folder = tmp_path_factory.mktemp("hostile")
    question = Question(row=1, id=HOSTILE, text=HOSTILE, answer=HOSTILE)
    candidate = Candidate(
        m_strong=HOSTILE,
        sample=0,
        step_reasoning=HOSTILE,
        step_list=(f"## {HOSTILE}\n{HOSTILE}", "x" * 100_000),
        normal=HOSTILE + "y" * 1_000_000,
        normal_is_own=True,
    )
    bits = score((1, 0), beta=0.5, normalization="reference")
    golden = Golden(question=question, winner=candidate, score=bits, truncated=HOSTILE, cut_by=HOSTILE)
    outcomes: dict[str, list[Any]] = {
        "stepmask": [Done(1, Scored(question=question, candidates=(candidate,), scores=(bits,)), 1.5)],
        "select": [
            Done(1, golden, 0.5),
            Failed(row=2, stage="select", kind=HOSTILE, message=HOSTILE, title=HOSTILE),
        ],
        "sft": [Done(1, SftRow(question=question, prompt=HOSTILE, response=HOSTILE))],
    }

    for name, all_of in outcomes.items():
        (folder / "ledger" / name).mkdir(parents=True)
        lines_of = b"".join(msgspec.json.encode(outcome) + b"\n" for outcome in all_of)
        (folder / "ledger" / name / "00000.jsonl").write_bytes(lines_of)
    shape = {"models.mweak": HOSTILE, "models.mstrong": [HOSTILE], "models.judge": None, "models.truncation": None}
    manifest = Manifest(created=HOSTILE, shape=shape, input=InputDigest(0, HOSTILE))
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    (folder / "run.log").write_text(json.dumps({"event": "run.started", "input": HOSTILE, "timestamp": HOSTILE}) + "\n")
    return folder


def test_a_hostile_trace_does_nothing(hostile: Path, browser: "Browser") -> None:
    assert command("report", hostile) == 0
    report = hostile / "report.html"
    assert report.stat().st_size < 500_000
    with opened(browser, report, width=390) as view:
        view.page.locator("details.trace summary").click()
        view.page.wait_for_timeout(100)
        assert view.seen == []
        assert "hit" not in view.page.title()
        assert view.page.locator("script, img, iframe, a, [href], [onerror], [style]").count() == 0
        assert view.page.locator("style").count() == 1
        assert view.page.locator("footer").is_visible()
        assert view.page.locator("footer").evaluate("e => e.parentElement === document.body")
        assert view.page.evaluate("document.documentElement.scrollWidth") <= 390
        shown = view.page.inner_text("body")
        assert "<script>document.title='hit'</script>" in shown
        assert not set("\x1b\x00\u202e\u2066\u200f") & set(shown)
        assert "⟨U+202E⟩" in shown
        assert view.page.locator("details.trace math mfrac").count() > 0


def test_what_is_no_mathematics_stays_text_and_what_is_is_drawn() -> None:
    assert prose("It costs $5 and not $6.") == "It costs $5 and not $6."
    assert prose(r"\(\frac{\)") == r"\(\frac{\)"
    assert "<mfrac>" in prose(r"so \(\frac{1}{2}\)")
    assert '<menclose notation="box">' in prose(r"thus \boxed{42}.")
    assert '<menclose notation="updiagonalstrike">' in prose(r"so \(\cancel{x}\)")
    assert "<msqrt>" in prose(r"thus \boxed{\frac{\sqrt{2}}{2}}.")
    assert prose(r"\(a & b\)") == r"\(a &amp; b\)", "columns, but of what?"
    assert "&" in prose(r"\(a \& b\)")


@pytest.mark.parametrize("lines", ["align*", "aligned", "gathered", "gather", "split", "eqnarray*", "multline"])
@pytest.mark.parametrize("around", ["$$%s$$", r"so \[%s\]", "and\n%s"])
def test_formulas_of_several_lines_are_drawn_as_such(lines: str, around: str) -> None:
    drawn = prose(around % rf"\begin{{{lines}}} x + y &= 3 \\ y &= \frac{{1}}{{2}} \end{{{lines}}}")
    if lines == "split" and "%s" in around[-2:]:
        assert "<math" not in drawn, "no environment of its own"
        return
    assert drawn.count("<mtr>") == 2
    assert "&amp;" not in drawn
    assert 'display="block"' in drawn


def test_spaces_in_formulas_are_as_wide_as_they_are_and_never_negative() -> None:
    drawn = prose(r"\(a \quad b \, c \hspace{1.5em} d \hspace{-30em} e \hspace{9999em} f\)")
    assert re.findall(r"<mspace[^>]*>", drawn) == [
        '<mspace width="1em">',
        '<mspace width="0.167em">',
        '<mspace width="1.5em">',
        *["<mspace>"] * 2,
    ]


def test_an_answer_that_is_a_formula_is_drawn() -> None:
    """The answers of MATH have no delimiters; a whole solution as an answer has words."""
    assert "<mfrac>" in answer(r"\frac{3}{2}")
    assert "<mtext>Evelyn</mtext>" in answer(r"\text{Evelyn}")
    assert "<mtable>" in answer(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}")
    assert answer("C:\\windows") == "C:\\windows"
    assert answer(r"it is \frac{3}{2} then") == r"it is \frac{3}{2} then"
    assert "<b>" not in answer(r"\frac{<b>")
    assert "<mfrac>" in answer(r"So it is $\frac{3}{2}$.")


def test_a_title_draws_its_formulas_and_cuts_through_none() -> None:
    assert "<mfrac>" in title(r"What is $\frac{1}{2}$?", 20)
    assert title(r"Find the root of \[x^2 + 1\] then", 40).count("<math") == 1
    assert "block" not in title(r"Find \[x^2\] now")
    assert title("word " * 30 + r"$\frac{" + "1" * 400 + "}{2}$", 160) == "word " * 30 + "…"
    assert title("<b>" * 100, 10) == "&lt;b&gt;" * 3 + "…"


def test_a_text_made_to_take_for_ever_does_not() -> None:
    for piece in (r"\boxed{", r"\boxed{{", r"\begin{align*}", "$x", r"\[", r"\boxed{{{}", r"\boxed{{x}"):
        began = time.process_time()
        prose(piece * 20_000)
        assert time.process_time() - began < 5
    assert escape("<\x1b>") == "&lt;⟨U+001B⟩&gt;"


def test_the_cut_is_found_although_white_space_differs() -> None:
    whole = "First, add.\n\n So  4. Wait, check."
    end = end_of_prefix(whole, "First, add. So 4.")
    assert whole[:end] == "First, add.\n\n So  4."
    assert end_of_prefix(whole, "Another text") is None


@pytest.mark.parametrize("spread", [even, doubling])
def test_every_number_is_in_one_bin(spread: Any) -> None:
    lots = [[1, 2, 3, 700, 100_000], [5, 5]] if spread is doubling else [[0.0, 0.1, 0.6], []]
    counts, edges = spread(lots)
    assert [sum(row) for row in counts] == [len(lot) for lot in lots]
    assert len(edges) == len(counts[0]) + 1


def test_a_run_that_was_stopped_is_shown_as_it_stands(
    finished: FinishedRun, tmp_path: Path, browser: "Browser"
) -> None:
    """Its log ends after the start and its last ledgers lack lines: what is unfinished is counted as such."""
    for path in finished.work.rglob("*.jsonl"):
        if path.parent.parent.name == "ledger":
            copy = tmp_path / path.relative_to(finished.work)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes()[:-7] if path.parent.name in {"sft", "journal"} else path.read_bytes())
    (tmp_path / "manifest.json").write_bytes((finished.work / "manifest.json").read_bytes())
    started = next(x for x in (finished.work / "run.log").read_text().splitlines() if '"run.started"' in x)
    (tmp_path / "run.log").write_text(started + "\n")
    assert command("report", tmp_path) == 0
    with opened(browser, tmp_path / "report.html") as view:
        tiles = dict(
            zip(
                view.page.locator(".tile dt").all_text_contents(),
                map(number, view.page.locator(".tile dd").all_text_contents()),
                strict=True,
            )
        )
        assert "stopped" in view.page.inner_text("header")
    assert (tiles["emitted"], tiles["unfinished"]) == (len(finished.emitted) - 1, 1)
    assert tiles.pop("questions") == sum(tiles.values()) == 22
