"""Watching a run: terminal, page and metrics say what the ledger says, and no trace can act in the page."""

import asyncio
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from tests.browser import chromium
from tests.engine_runs import ROOT, config_for, finish, lines, start, write_run
from tests.loopback import Fault, LoopbackProcess, Match
from weak2wise.errors import ConfigError
from weak2wise.watch.board import Board, EndpointFacts, EngineFacts, StageFacts
from weak2wise.watch.page import Address, served
from weak2wise.watch.screen import Picture

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
            assert engine.stderr
            url = engine.stderr.readline().removeprefix("The page: ").strip()
            while not _all_but_one(url):
                assert engine.poll() is None
                time.sleep(0.2)
            yield url, folder
            engine.terminate()


def followed(folder: Path, *, stop: int = 0) -> list[dict[str, Any]]:
    """Run the engine to its end and return every board that the page was sent; ``stop``: interrupt after so many."""
    words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as engine:
        assert engine.stderr
        url = engine.stderr.readline().removeprefix("The page: ").strip()
        boards = []
        with urllib.request.urlopen(f"{url}events", timeout=30) as stream:
            for line in stream:
                if line.startswith(b"data: ") and (board := json.loads(line[6:])["board"]):
                    boards.append(board)
                    if len(boards) == stop:
                        engine.send_signal(signal.SIGINT)
        engine.communicate(timeout=60)
    return boards


def _all_but_one(url: str) -> bool:
    values = _values(url)
    return values.get("weak2wise_questions") == QUESTIONS == 1 + values["weak2wise_questions_ended"]


def get(url: str, **headers: str) -> tuple[int, Any, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def _values(url: str) -> dict[str, float]:
    """Metric values, their labels' values behind their names."""
    found = {}
    for family in text_string_to_metric_families(get(f"{url}metrics")[2]):
        for sample in family.samples:
            found["/".join([sample.name, *(sample.labels[name] for name in sorted(sample.labels))])] = sample.value
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


def test_the_dashboard_asks_for_metrics_that_there_are(live: tuple[str, Path]) -> None:
    text = get(f"{live[0]}metrics")[2]
    asked = set(re.findall(r"weak2wise_\w+", (ROOT / "docker/monitoring/dashboards/weak2wise.json").read_text()))
    assert len(asked) > 10
    assert {name for name in asked if name.removesuffix("_bucket").removesuffix("_count") not in text} == set()


@pytest.mark.slow
def test_earlier_failures_are_owed_until_they_are_tried_again_and_the_end_is_told(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("400", Match(model="strong-a"), times=None),)) as server:
        config = config_for(tmp_path, server.base_url)
        write_run(tmp_path, config, QUESTIONS)
        finish(tmp_path, code=1)
    failed = len(lines(tmp_path / "work/failed.jsonl"))
    runs = []
    for latency, stop in ((5.0, 2), (0.2, 0)):
        with LoopbackProcess(latency=latency) as server:
            for endpoint in config["model_endpoints"].values():
                endpoint |= {"base_url": server.base_url, "max_concurrent_requests": 12}
            (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
            runs.append(followed(tmp_path, stop=stop))
    first, second = runs
    for board in first + second:
        assert board["rows"] in {None, QUESTIONS}
        assert board["ended"] == board["emitted"] + board["dropped"] + board["failed"] <= QUESTIONS
        assert board["owed_again"] <= failed
        assert min(board["per_minute"], board["seconds_left"] or 0) >= 0
    for seen in (first, second):
        assert [board["ended"] for board in seen] == sorted(board["ended"] for board in seen)
    assert first[0]["ended"] == QUESTIONS - failed
    assert first[0]["owed_again"] == failed
    assert first[-1]["ending"] == "interrupted"
    assert second[-1]["ending"] == "finished"
    assert [stage["waiting"] for stage in second[-1]["stages"]] == [0] * 5
    assert (second[-1]["ended"], second[-1]["owed_again"], second[-1]["failed"]) == (QUESTIONS, 0, 0)
    assert second[-1]["emitted"] == len(lines(tmp_path / "out.jsonl"))
    events = [line["event"] for line in lines(tmp_path / "work/run.log")]
    assert events.count("run.interrupted") == 1


def test_the_log_says_what_became_of_each_row_and_whose_call_was_retried(tmp_path: Path) -> None:
    calls = (Match(model="trunc"), Match(model="strong-a-two"), Match(model="weak", contains="## Hint"))
    faults = tuple(Fault("500", call, times=2) for call in calls)
    with LoopbackProcess(faults=faults) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        finish(tmp_path)
    events = lines(tmp_path / "work/run.log")
    named = {name: [e for e in events if e["event"] == name] for name in ("record.dropped", "record.emitted")}
    selected = [line["record"]["question"]["row"] for line in lines(tmp_path / "work/ledger/sft/00000.jsonl")]
    assert sorted(e["row"] for e in named["record.emitted"]) == sorted(selected) != []
    assert {(e["stage"], e["reason"]) for e in named["record.dropped"]} == {("filter", "weak_solves")}
    rows = sorted(e["row"] for some in named.values() for e in some)
    assert rows == list(range(min(rows), min(rows) + QUESTIONS))
    retried = [e for e in events if e["event"] == "call.retried"]
    assert [e["row"] in selected for e in retried if e["stage"] == "select"] == [True] * 2
    traced = [(e["m_strong"], e["sample"]) for e in retried if e["stage"] == "generate"]
    assert traced == [("strong-b", 0)] * 2
    scored = [(e["m_strong"], e["sample"], e["mask_level"], e["vote"]) for e in retried if e["stage"] == "stepmask"]
    assert len(scored) == 2
    assert {(model[:6], sample, level in range(6), vote) for model, sample, level, vote in scored} == {
        ("strong", 0, True, 0)
    }


@pytest.mark.slow
def test_piped_progress_says_rates_cost_and_bottleneck(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.5) as server:
        config = config_for(tmp_path, server.base_url)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 800.0}
        config["model_endpoints"]["weak"]["max_concurrent_requests"] = 8
        write_run(tmp_path, config, 120)
        run = start(tmp_path)
        assert run.stdout
        said = next(line for line in run.stdout if " progress " in line)
        run.kill()
        run.communicate()
    facts = dict(re.findall(r"(\S+?)=(\S+)", said))
    assert facts["rows"] == "120"
    assert float(facts["per_minute"]) >= 0
    assert float(facts["weak_per_minute"]) > 0
    assert float(facts["cost_usd"]) > 0
    assert facts["bottleneck"] == "stepmask"


def test_what_stopped_a_run_is_told(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("401", Match(model="trunc"), times=None),)) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        last = followed(tmp_path)[-1]
    assert last["ending"].startswith("stopped: ")
    assert "401" in last["ending"]


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
            page.goto(run.stderr.readline().removeprefix("The page: ").strip())
            page.evaluate(
                "window.told = []; new MutationObserver(() => told.push(said.textContent))"
                ".observe(said, {childList: true})"
            )
            page.wait_for_selector("body.ended", timeout=60_000)
            run.communicate(timeout=60)
        page.wait_for_timeout(3500)  # a browser that looked for the engine would have by now
        heard = page.evaluate("told")
        assert page.locator("#whole").get_attribute("aria-valuenow") == "100"
        assert page.title() == "finished 100 % · Weak2Wise"
        assert f"{QUESTIONS} of {QUESTIONS} questions ended" in page.inner_text("#state")
        tiles = page.locator(".tile dt").all_text_contents()
        assert page.locator(".tile.emitted dd").text_content() == str(len(lines(tmp_path / "out.jsonl")))
        assert seen == []
    assert tiles == ["questions", "emitted", "dropped", "failed"]
    assert heard[-1].startswith("Finished")
    assert len(heard) <= 3


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
        page.on("request", lambda request: None if request.url.startswith(url) else seen.append(request.url))
        page.goto(url)
        page.wait_for_selector("details.trace")
        assert page.locator(".tile.emitted dd").text_content() == str(emitted)
        stages = {
            cells[0]: cells[1:]
            for row in page.locator("#stages tr").all()
            if (cells := row.locator("td").all_text_contents())
        }
        assert stages["sft"][:2] == ["0", str(emitted)]
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
        assert engine.stderr
        yield engine, engine.stderr.readline().removeprefix("The page: ").strip()
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
            page.locator("#faults", has_text=re.compile("weak: [23] server_error, 1 bad_request")).wait_for(
                timeout=30_000
            )
            rows = {
                row.locator("td").first.inner_text(): row.locator("td") for row in page.locator("#endpoints tr").all()
            }
            assert rows["weak"].nth(1).inner_text() in {"3", "4"}
            for cells in rows.values():
                name, errors = cells.nth(0).bounding_box(), cells.nth(1).bounding_box()
                assert name
                assert errors
                assert name["x"] + name["width"] <= errors["x"] + 1 <= errors["x"] + errors["width"] <= width
            page.locator("section:has(#endpoints) .scroll").evaluate("e => e.scrollLeft = 9999")
            box = page.locator("#endpoints td").first.bounding_box()
            assert box
            assert box["x"] >= 0
            page.locator("#charts .trend").first.wait_for(timeout=30_000)
            for svg in page.locator("#charts svg").all():
                labels = [float(text.replace(",", "")) for text in svg.locator("text").all_text_contents()]
                assert labels[0] == 0 < labels[1] < labels[2]
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_trace_that_is_read_stays_where_it_is_and_newer_ones_wait(tmp_path: Path) -> None:
    """Also under who walks through the list by keyboard; a button says how many there are, and brings them."""
    top = "document.querySelector('#traces > [open]').getBoundingClientRect().top"
    with LoopbackProcess(latency=0.5) as server, chromium() as browser:
        slow_run(tmp_path, server.base_url)
        with going(tmp_path) as (_, url):
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            page.goto(url)
            page.locator("details.trace").nth(2).wait_for(timeout=30_000)
            page.locator("details.trace > summary").first.focus()
            page.keyboard.press("Enter")
            page.locator("#traces > [open] .hint").first.wait_for()
            before, shown = page.evaluate(top), page.locator("details.trace").count()
            page.locator("#newer", has_text=re.compile(r"^([2-9]|\d\d).* newer traces$")).wait_for(timeout=30_000)
            assert (page.evaluate(top), page.locator("details.trace").count()) == (before, shown)
            page.keyboard.press("Enter")  # closed, but the focus is still in the list
            page.wait_for_timeout(1500)
            assert page.locator("details.trace").count() == shown
            page.keyboard.press("Shift+Tab")
            assert page.evaluate("document.activeElement.id") == "newer"
            page.keyboard.press("Enter")
            assert page.locator("details.trace").count() > shown
            assert page.evaluate("document.activeElement === document.querySelector('details.trace > summary')")
            page.evaluate("document.activeElement.blur()")
            page.locator("details.trace").nth(shown + 4).wait_for(timeout=30_000)
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
            told("The engine wants another token")
            context.new_page().goto(f"http://127.0.0.1:{port}/?token=two")
            told("Running")


def test_the_page_answers_to_loopback_names_alone_and_forbids_foreign_scripts(live: tuple[str, Path]) -> None:
    url, _ = live
    assert get(url, Host="evil.example")[0] == 403
    status, headers, _ = get(url)
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert get(f"{url}trace/999999")[0] == 404


@pytest.mark.parametrize("text", ["http", "70000", "localhost:x", ""])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a port or HOST:PORT"):
        Address.of(text)


async def test_others_need_a_token_and_are_told_an_address_that_works() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    with pytest.raises(ConfigError, match="set W2W_PAGE_TOKEN"):
        async with served(nobody, Address.of("0.0.0.0:0"), {}):
            pass
    async with served(nobody, Address.of("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as anywhere:
        url, _, hint = anywhere.partition("?")
        assert url.startswith("http://127.0.0.1:")
        assert hint == "token=$W2W_PAGE_TOKEN"
        assert (await asyncio.to_thread(get, url))[0] == 401
        assert (await asyncio.to_thread(get, f"{url}?token=wrong"))[0] == 401
        assert (await asyncio.to_thread(lambda: get(url, Authorization="Bearer open-sesame")))[0] == 200
        _, fields = await _raw(url, b"Host: localhost:8000", target=b"/?token=open-sesame")
        cookie = fields["set-cookie"].partition(";")[0]
        assert (await _raw(url, b"Host: localhost:8000", b"Cookie: " + cookie.encode()))[0] == 200
        assert "open-sesame" not in cookie, "a server on another port of this host is sent it, too"
        assert (await _raw(url, b"Host: localhost:8001", b"Cookie: " + cookie.encode()))[0] == 401


async def _raw(url: str, *head: bytes, target: bytes = b"/") -> tuple[int, dict[str, str]]:
    """Status and header fields of what is answered to a request written by hand."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\r\n".join([b"GET " + target + b" HTTP/1.1", *head, b"Connection: close", b"", b""]))
    status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    writer.close()
    await writer.wait_closed()
    return int(status.split()[1]), {field.partition(": ")[0].lower(): field.partition(": ")[2] for field in fields}


@pytest.mark.parametrize("token", ["", "open-sesame"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 200),
        (b"[::1]:80", 200),
        (b"evil.example", 403),
        (b"localhost.evil.example", 403),
        (b"localhost:99999", 403),
        (b"\xff\xfe", 403),
        (b"", 403),
    ],
)
async def test_no_web_site_reaches_the_page_through_a_name_of_its_own(token: str, host: bytes, status: int) -> None:
    """With a token as well: a browser that was given the cookie may be led there by another name."""
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, Address.of("0"), {"W2W_PAGE_TOKEN": token}) as url:
        _, given = await _raw(url, b"Host: localhost", target=b"/?token=open-sesame")
        cookie = given.get("set-cookie", "").partition(";")[0].encode()
        found, fields = await _raw(url, b"Host: " + host, b"Cookie: " + cookie)
    assert found == status
    assert "default-src 'none'" in fields["content-security-policy"]
    assert fields["x-content-type-options"] == "nosniff"


async def test_a_token_in_a_header_needs_no_name_and_one_that_is_no_text_is_just_wrong() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, Address.of("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        assert (await _raw(url, b"Host: run:8000", b"Authorization: Bearer open-sesame", target=b"/metrics"))[0] == 200
        for wrong in (b"Authorization: Bearer \xff\xfe", b"Authorization: open-sesame", b"Cookie: weak2wise-8000=\xff"):
            status, fields = await _raw(url, b"Host: 192.0.2.1:8000", wrong)
            assert status == 401
            assert "default-src 'none'" in fields["content-security-policy"]
        for target in (b"//evil.example/x?token=open-sesame", b"/trace/1?token=open-sesame"):
            status, fields = await _raw(url, b"Host: localhost", target=target)
            assert (status, fields.get("location")) in {(303, "/"), (403, None)}
            assert "evil" not in fields.get("location", "")
            assert status == 403 or "SameSite=Strict" in fields["set-cookie"]
        cookie = fields["set-cookie"].partition(";")[0].encode()
        status, fields = await _raw(url, b"Host: localhost", b"Cookie: " + cookie, target=b"/nothing")
        assert (status, fields["x-content-type-options"]) == (404, "nosniff")


async def test_health_is_told_to_everybody_and_nothing_else_with_it() -> None:
    observer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(observer, Address.of("0.0.0.0:0"), {"W2W_PAGE_TOKEN": "open-sesame"}) as url:
        health = url.partition("?")[0] + "healthz"
        status, _, text = await asyncio.to_thread(lambda: get(health, Host="run:8000"))
        assert (status, json.loads(text)) == (200, {"ok": True, "lag": 0.0})
        observer.set_result(SimpleNamespace(late=lambda: 60.0))
        status, _, text = await asyncio.to_thread(get, health)
        assert (status, json.loads(text)) == (503, {"ok": False, "lag": 60.0})


async def test_a_port_in_use_is_told() -> None:
    nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    async with served(nobody, Address.of("0")) as url:
        port = url.rstrip("/").rpartition(":")[2]
        with pytest.raises(ConfigError, match="choose another port"):
            async with served(nobody, Address.of(port)):
                pass


def board_of(stages: list[StageFacts], endpoints: list[EndpointFacts], engines: list[EngineFacts]) -> Board:
    return Board(
        seconds=3700,
        rows=100_000,
        ended=25_000,
        emitted=20_000,
        dropped=4_999,
        failed=1,
        owed_again=0,
        per_minute=4,
        seconds_left=11000,
        bottleneck="stepmask",
        cost_usd=1234.5,
        loop_lag=0.0,
        stages=stages,
        endpoints=endpoints,
        engines=engines,
        verdicts={},
        bits={},
    )


def drawn(board: Board, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(Picture(board))
    return console.export_text().splitlines()


@pytest.mark.parametrize(("width", "height"), [(60, 16), (80, 24), (120, 30), (200, 60)])
def test_the_terminal_shows_what_matters_at_any_size(width: int, height: int) -> None:
    """Numbers are whole or left out with their column; names lose their middle; a bottleneck has a line of its own."""
    stages = [
        StageFacts(name, 1_234_567, 89_012, 345, 256, 256, 64, 12_345)
        for name in ("filter", "generate", "stepmask", "select", "sft")
    ]
    name, faults = "deepseek-reasoner-of-region-\x1b[2J", {"rate_limited": 70_123, "timeout": 4_567}
    endpoints = [
        EndpointFacts(f"{name}{number}", number, 1_024, 9, 9, faults, 55_123, 44_000_000, 9, 1_234.5)
        for number in range(30)
    ]
    engines = [EngineFacts("a-weak-model-with-a-rather-long-name", 48, 53, 12, 500, 417.0, 99, 0.15)]
    said = drawn(board_of(stages, endpoints, engines), width, height)
    text = "\n".join(said)
    assert "\x1b[2J" not in text
    assert max(map(len, said)) <= width
    assert len(said) <= max(height, 17)
    assert "The others wait for stepmask." in said
    for name in ("filter", "generate", "stepmask", "select", "sft"):
        assert any(line.startswith(name) and "1,234,567" in line and "89,012" in line for line in said)
    busiest = next(line for line in said if line.startswith("deep") and "29" in line.split())
    assert {"4,567", "$1,234.50"} <= set(busiest.split())
    assert ("more endpoints, less busy" in text) == (height < 60)
    words = " ".join(text.split())
    assert "48 of 53 attempts inside, 12 waiting; 417 tokens/s" in words
    assert "25,000 of 100,000 questions ended; 1:01:40, about 3:03:20 left, $1,234.50" in words
    shown = {word for line in said for word in line.split() if "…" in word}
    assert not any(any(c.isdigit() or c == "$" for c in word.split("…")[0]) for word in shown)
    if width >= 120:
        assert "44,000,000" in text


def test_the_limit_shown_is_the_one_that_holds_requests_back() -> None:
    """Else four requests in flight of 71 allowed would look like nothing to do."""
    paced = EndpointFacts("paced", 4, 71, 9, 9, {}, 340, 4, 9, 0.0, paced=348.2)
    full = EndpointFacts("full", 71, 71, 9, 9, {}, 340, 4, 9, 0.0)
    said = drawn(board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], [paced, full], []), 80, 24)
    limits = {line.split()[0]: line.split()[2] for line in said if line.startswith(("paced", "full"))}
    assert limits == {"paced": "≤348/min", "full": "71"}


def test_what_costs_nothing_has_no_price_in_the_terminal() -> None:
    endpoint = EndpointFacts("weak", 1, 64, 9, 9, {}, 5, 4, 9, 0.0)
    said = "\n".join(drawn(board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], [endpoint], []), 80, 24))
    assert "cost" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30)])
def test_a_real_terminal_shows_the_run_and_then_how_it_ended(tmp_path: Path, width: int, height: int) -> None:
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("needs a terminal to look at: apt-get install tmux (scripts/setup.sh does it for root)")

    def ask(*words: str) -> str:
        return subprocess.run(
            [tmux, "-S", str(tmp_path / "tmux"), *words], check=True, capture_output=True, text=True, timeout=20
        ).stdout

    def wait_for(text: str) -> list[str]:
        end = time.monotonic() + 60
        while text not in (screen := ask("capture-pane", "-p")):
            assert time.monotonic() < end, screen
            time.sleep(0.2)
        return screen.splitlines()

    with LoopbackProcess(latency=0.4) as server:
        config = config_for(tmp_path, server.base_url)
        config["model_endpoints"]["weak"]["max_concurrent_requests"] = 4
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 800.0}
        write_run(tmp_path, config, QUESTIONS)
        run = f"{sys.executable} -m weak2wise.engine --config {tmp_path / 'config.yaml'}; sleep 60"
        ask("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(ROOT), run)
        try:
            live = wait_for(f"of {QUESTIONS} questions ended; ")
            ask("send-keys", "C-c")
            ended = wait_for("Interrupted")
        finally:
            ask("kill-server")
    assert [line.split()[0] for line in live[1:6]] == ["filter", "generate", "stepmask", "select", "sft"]
    table = live[live.index("") + 1 :]
    assert table[0].split() == ["endpoint", "active", "limit", "calls/min", "tokens/min", "429s", "errors", "cost"]
    assert [line.split()[0] for line in table[1:6]] == ["weak", "strong-a", "strong-b", "judge", "trunc"]
    assert not any("of 30 questions ended" in line for line in ended)  # the picture has made room
