"""The report in a real browser shows what the ledger holds."""

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.browser import opened
from tests.engine_runs import finish, lines, rewrite
from tests.finished_run import FinishedRun, command
from weak2wise.outputs.reasons import failed_in_words

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def table(page: Any, heading: str) -> list[list[str]]:
    """The body of the table below a heading."""
    rows = page.locator(f"section:has(h2:text-is('{heading}')) tbody tr, figure:has(h2:text-is('{heading}')) tbody tr")
    return [row.locator("td").all_text_contents() for row in rows.all()]


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_was_estimated_and_what_was_paid_in_vain_is_said(
    finished: FinishedRun, tmp_path: Path, browser: "Browser"
) -> None:
    shutil.copytree(finished.work, tmp_path / "work")
    (shard,) = (tmp_path / "work" / "ledger" / "journal").glob("*")
    journal = lines(shard)
    for paid in journal[2:5]:
        paid["completion"]["usage"] = {"prompt_tokens": 10, "completion_tokens": 10, "estimated": True}
    lost = journal[0] | {"key": "", "cost_usd": 0.0042}
    rewrite(shard, [*journal, lost])
    assert command("report", tmp_path / "work") == 0
    with opened(browser, tmp_path / "work" / "report.html") as view:
        said = view.page.locator("section:has(h2:text-is('Tokens')) > p").inner_text()
        costs = [float(row[7]) for row in table(view.page, "Tokens")]
    assert "; for 3 answers, which had no token counts or broke off, they are estimated." in said
    assert "0.0042 of that was for answers that could not be used." in said
    whole = float(said.partition("They cost ")[2].split()[0])
    assert 0 < whole < 1
    assert whole == pytest.approx(sum(costs), abs=0.001)


@pytest.mark.slow
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
            "2 input lines cannot be read, see failed.jsonl. Trying again does not fix that: append corrected lines "
            "to the input and go on with --resume force."
        )
        said = [[f["row"], failed_in_words(f"{f['stage']}/{f['kind']}")] for f in lines(finished.work / "failed.jsonl")]
        assert failed == said
        assert failed[0][1] == "a field of the input line is missing or not valid (bad_field)"
        kept = sum(len(x["truncated_normal"]) for x in finished.selected)
        whole = sum(len(x["chosen_normal"]) for x in finished.selected)
        assert f"{100 * kept / whole:.0f}% of all text is kept" in view.page.inner_text("main")
        seconds = [float(row[2]) for row in table(view.page, "Slowest questions")]
        assert seconds == sorted(seconds, reverse=True) != []


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_cost_and_time_are_tiles(finished: FinishedRun, report: Path, browser: "Browser") -> None:
    summary = json.loads((finished.work / "summary.json").read_text())
    with opened(browser, report) as view:
        tiles = dict(
            zip(
                view.page.locator(".use dt").all_text_contents(),
                view.page.locator(".use dd").all_text_contents(),
                strict=True,
            )
        )
    assert float(tiles["US dollars"]) == pytest.approx(sum(role["cost_usd"] for role in summary["roles"]), abs=1e-4)
    assert float(tiles["at work"].removesuffix(" s")) == pytest.approx(summary["this_start"]["seconds"], abs=5)


@pytest.mark.slow
def test_dropped_questions_are_named_with_their_reasons(
    finished: FinishedRun, report: Path, browser: "Browser"
) -> None:
    """The words of a question come from the input, as a dropped one is in no ledger."""
    asked = {
        number: row.get("question") for number, row in enumerate(lines_that_parse(finished.folder / "in.jsonl"), 1)
    }
    emitted = {line["row"] for line in finished.selected}
    failed = {line["row"] for line in lines(finished.work / "failed.jsonl")}
    with opened(browser, report) as view:
        view.page.get_by_text("Which ones").click()
        rows = [[number(row[0]), row[1], row[2]] for row in table(view.page, "Dropped questions")]
    gone = sorted(set(asked) - emitted - failed)
    assert rows == [[row, asked[row], "solved by the weak LLM"] for row in gone] != []


def lines_that_parse(path: Path) -> list[dict[str, Any]]:
    """A file's lines; an empty object for one that is not JSON."""
    found = []
    for text in path.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            found.append({})
    return found
