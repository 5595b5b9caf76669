"""The page and the metrics of a run say what the ledger says, and no trace can act in the page."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.browser import chromium
from tests.engine_runs import ROOT, config_for, lines, write_run
from tests.loopback import Fault, LoopbackProcess, Match
from tests.watch.looking import get, page_of

QUESTIONS = 30
LONG = "an-endpoint-of-a-reseller-with-" + "a-very-long-name-" * 4
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e</details>\x1b[31m $\\frac{1}{2}$"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A run that has done all it can but for one question, whose weak LLM never answers: its page and its work_dir."""
    folder = tmp_path_factory.mktemp("live")
    hang = Fault("hang_before_headers", Match(model="weak", contains="(item 7)"), times=None)
    with LoopbackProcess(faults=(hang,)) as server:
        config = config_for(folder, server.base_url)
        write_run(folder, config, QUESTIONS)
        rows = lines(folder / "in.jsonl")
        rows[0] = {"question": HOSTILE, "answer": "4"}
        (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as engine:
            url = page_of(engine)
            while not _all_but_one(url):
                assert engine.poll() is None
                time.sleep(0.2)
            yield url, folder
            engine.terminate()


def _all_but_one(url: str) -> bool:
    values = _values(url)
    return values.get("weak2wise_questions") == QUESTIONS == 1 + values["weak2wise_questions_ended"]


def _values(url: str) -> dict[str, float]:
    """Metric values, their labels' values behind their names."""
    found = {}
    for family in text_string_to_metric_families(get(url, "metrics")[2]):
        for sample in family.samples:
            found[
                "/".join([sample.name, *(sample.labels[name] for name in sorted(sample.labels) if name != "run")])
            ] = sample.value
    return found


def test_metrics_are_those_of_the_ledger(live: tuple[str, Path]) -> None:
    url, folder = live
    values = _values(url)
    journal = [line for shard in sorted((folder / "work/ledger/journal").glob("*")) for line in lines(shard)]
    for endpoint in ("weak", "strong-a", "trunc"):
        assert values[f"weak2wise_answers_total/{endpoint}"] == sum(a["endpoint"] == endpoint for a in journal) > 0
        usages = [a["completion"]["usage"] for a in journal if a["endpoint"] == endpoint]
        used = sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages)
        assert values[f"weak2wise_tokens_total/{endpoint}"] == used > 0
        assert values[f"weak2wise_call_seconds_count/{endpoint}"] == values[f"weak2wise_answers_total/{endpoint}"]
    emitted = len(lines(folder / "work/ledger/sft/00000.jsonl"))
    assert values["weak2wise_rows/done/sft"] == values["weak2wise_stage_seconds_count/sft"] == emitted > 0
    assert values["weak2wise_rows/dropped/filter"] == QUESTIONS - 1 - emitted
    assert values["weak2wise_requests_in_flight/weak"] == 1
    assert values["weak2wise_questions"] == QUESTIONS


def test_dashboard_and_alerts_ask_for_metrics_that_there_are(live: tuple[str, Path]) -> None:
    text = get(live[0], "metrics")[2]
    files = (ROOT / "docker/monitoring" / name for name in ("dashboards/weak2wise.json", "alerts.yaml"))
    asked = {name for file in files for name in re.findall(r"weak2wise_[a-z_]+", file.read_text())}
    assert len(asked) > 20
    assert {name for name in asked if name.removesuffix("_bucket").removesuffix("_count") not in text} == set()


@pytest.mark.slow
def test_a_finished_run_shows_all_of_it_and_says_so_once(tmp_path: Path) -> None:
    """A screen reader hears the state when it changes, not every second; what costs nothing has no price."""
    with LoopbackProcess(latency=0.2) as server, chromium() as browser:
        config = config_for(tmp_path, server.base_url)
        config["model_endpoints"]["weak"]["max_concurrent_requests"] = 12
        write_run(tmp_path, config, QUESTIONS)
        command = [sys.executable, "-m", "weak2wise.engine", "--config", str(tmp_path / "config.yaml"), "--page", "0"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
            assert run.stderr
            page = browser.new_page(viewport={"width": 390, "height": 800})
            seen: list[str] = []
            page.on("console", lambda message: seen.append(message.text))
            page.goto(page_of(run))
            page.evaluate(
                "window.told = []; const heard = document.getElementById('spoken');"
                "new MutationObserver(() => told.push(heard.textContent)).observe(heard, {childList: true})"
            )
            page.wait_for_selector("body.ended", timeout=60_000)
            run.communicate(timeout=60)
        page.wait_for_timeout(3500)  # a browser that looked for the engine would have by now
        heard = page.evaluate("told")
        assert page.locator("#whole").get_attribute("aria-valuenow") == "100"
        assert page.title() == f"finished 100 % · {tmp_path.name}/work · Weak2Wise"
        assert page.inner_text("h1") == f"{tmp_path.name}/work"
        assert "strong: strong-a, strong-a-two" in page.inner_text("#about")
        assert f"config {tmp_path / 'config.yaml'}" in page.inner_text("#about")
        commands = page.locator("#commands code").all_text_contents()
        assert commands == [f"weak2wise report {tmp_path}/work", f"weak2wise export {tmp_path}/work --out train.jsonl"]
        assert f"{QUESTIONS} of {QUESTIONS} questions ended" in page.inner_text("#state")
        tiles = page.locator(".tile dt").all_text_contents()
        assert page.locator(".tile.emitted dd").text_content() == str(len(lines(tmp_path / "out.jsonl")))
        assert seen == []
    assert tiles == ["done", "cost", "emitted", "dropped", "failed"]
    assert heard[-1].startswith("Finished")
    assert len(heard) <= 3


@pytest.mark.slow
@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (390, "dark")])
def test_the_page_shows_the_run_and_no_trace_acts_in_it(live: tuple[str, Path], width: int, theme: Any) -> None:
    """By keyboard too; nothing is loaded from elsewhere, nothing is wider than the screen."""
    url, folder = live
    emitted = len(lines(folder / "work/ledger/sft/00000.jsonl"))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
        seen: list[str] = []
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        base = url.partition("?")[0]
        page.on("request", lambda request: None if request.url.startswith(base) else seen.append(request.url))
        page.goto(url)
        page.wait_for_selector("details.trace")
        page.locator(".tile.emitted dd", has_text=re.compile(f"^{emitted}$")).wait_for()
        sft = page.locator("#stages .card", has_text="sft").locator("dl > div").all_inner_texts()
        assert [fact.split() for fact in sft][:2] == [["done", str(emitted)], ["failed", "0"]]
        hostile = page.locator("details.trace", has_text="document.title")
        hostile.locator("> summary").focus()
        page.keyboard.press("Enter")
        hostile.locator(".hint").first.wait_for()
        assert hostile.locator(".hint").count() == 6
        assert hostile.locator("mfrac").count() > 0
        assert "⟨U+202E⟩" in (hostile.text_content() or "")
        assert hostile.locator("script, img").count() == 0
        assert "owned" not in page.title()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen == []


@contextmanager
def going(folder: Path, page: str = "0", token: str = "") -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A run that goes on, slowly, and the URL of its page."""
    words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", page]
    env = {**os.environ, "W2W_PAGE_TOKEN": token}
    with subprocess.Popen(
        words, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as engine:
        try:
            yield engine, page_of(engine)
        finally:
            engine.kill()


def slow_run(folder: Path, base_url: str) -> None:
    config = config_for(folder, base_url, n_mask=2, skip_filter=True)
    config["model_endpoints"]["weak"]["max_concurrent_requests"] = 4
    config["model_endpoints"][LONG] = config["model_endpoints"]["strong-b"]
    config["models"]["mstrong"] = ["strong-a", LONG]
    write_run(folder, config, 400)


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_says_what_fails_and_why_on_a_phone_too(tmp_path: Path, width: int) -> None:
    """However long an endpoint's name is, its errors are beside it; charts have a scale."""
    item = Match(model="weak", contains="(item 2)")
    faults = (Fault("400", item), Fault("500", Match(model="weak"), times=3))
    with LoopbackProcess(latency=0.5, faults=faults) as server, chromium() as browser:
        slow_run(tmp_path, server.base_url)
        with going(tmp_path) as (_, url):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.goto(url)
            weak = page.locator("#endpoints .card", has=page.locator("h3", has_text=re.compile("^weak$")))
            weak.locator(".faults", has_text=re.compile("[23] server error, 1 bad request")).wait_for(timeout=30_000)
            assert weak.locator("dd").first.inner_text() in {"3", "4"}
            ends = "cards => cards.map(card => card.getBoundingClientRect()).map(box => [box.left, box.right])"
            cards = page.locator("#endpoints .card").evaluate_all(ends)
            assert len(cards) > 4
            assert all(0 <= left < right <= width for left, right in cards)
            page.locator("#failed .losses", has_text="(item 2").first.wait_for(timeout=30_000)
            assert "weak: HTTP 400" in page.locator("#failed .message").first.inner_text()
            page.locator("#charts .trend").first.wait_for(timeout=30_000)
            for svg in page.locator("#charts figure:not(#scores) > svg").all():
                labels = [float(text.replace(",", "")) for text in svg.locator("text").all_text_contents()]
                assert labels[0] == 0 < labels[1] < labels[2]
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_trace_that_is_read_stays_where_it_is_and_newer_ones_wait(tmp_path: Path) -> None:
    """Also under who walks through the list by keyboard; a button says how many there are, and brings them."""
    top = "document.querySelector('#traces > [open]').getBoundingClientRect().top"
    first = "document.querySelector('details.trace').dataset.key"
    with LoopbackProcess(latency=0.5) as server, chromium() as browser:
        slow_run(tmp_path, server.base_url)
        with going(tmp_path) as (_, url):
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            page.goto(url)
            page.locator("details.trace").nth(2).wait_for(timeout=30_000)
            page.locator("details.trace > summary").first.focus()
            page.keyboard.press("Enter")
            page.locator("#traces > [open] .hint").first.wait_for()
            before, shown, newest = page.evaluate(top), page.locator("details.trace").count(), page.evaluate(first)
            page.locator("#newer", has_text=re.compile(r"^([2-9]|\d\d).* newer traces$")).wait_for(timeout=30_000)
            assert (page.evaluate(top), page.locator("details.trace").count()) == (before, shown)
            page.keyboard.press("Enter")  # closed, but the focus is still in the list
            page.wait_for_timeout(1500)
            assert (page.locator("details.trace").count(), page.evaluate(first)) == (shown, newest)
            page.keyboard.press("Shift+Tab")
            assert page.evaluate("document.activeElement.id") == "newer"
            page.keyboard.press("Enter")
            page.wait_for_function("() => document.activeElement === document.querySelector('details.trace > summary')")
            brought = page.evaluate(first)
            assert brought != newest
            page.evaluate("document.activeElement.blur()")
            page.wait_for_function(f"brought => {first} !== brought", arg=brought, timeout=30_000)
            assert page.locator("#newer").is_hidden()


@pytest.mark.slow
def test_a_page_left_open_finds_the_run_again_whatever_ended_it(tmp_path: Path) -> None:
    """A death, a clean end, and a start with another token, which it can only tell about."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with LoopbackProcess(latency=0.5) as server, chromium() as browser:
        slow_run(tmp_path, server.base_url)
        context = browser.new_context()
        page = context.new_page()

        def told(beginning: str) -> None:
            page.locator("#state", has_text=re.compile(f"^{beginning}")).wait_for(timeout=30_000)

        with going(tmp_path, port, "one"):
            page.goto(f"http://127.0.0.1:{port}/?token=one")
            page.locator("details.trace").first.wait_for(timeout=30_000)
        told("The engine is gone")
        page.locator("details.trace > summary").first.click()
        page.locator("#traces > [open]", has_text="The engine is gone").wait_for()
        with going(tmp_path, port, "one") as (engine, _):
            told("Running")
            page.locator("#traces > [open] .hint").first.wait_for()
            engine.terminate()
            told("Interrupted")
        with going(tmp_path, port, "one"):
            told("Running")
            assert page.locator("body.ended").count() == 0
        told("The engine is gone")
        with going(tmp_path, port, "two"):
            told("The engine needs another token")
            context.new_page().goto(f"http://127.0.0.1:{port}/?token=two")
            told("Running")


def test_the_page_answers_to_loopback_names_alone_and_forbids_foreign_scripts(live: tuple[str, Path]) -> None:
    url, _ = live
    assert get(url.partition("?")[0], Host="evil.example")[0] == 403
    status, headers, _ = get(url)
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert get(url, "trace/999999")[0] == 404
