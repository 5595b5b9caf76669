"""The terminal shows what matters of a run, at any size."""

import io
import re
import shutil
import subprocess
import sys
import time
from colorsys import rgb_to_hls
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import LoopbackProcess
from weak2wise.watch import screen
from weak2wise.watch.board import Board, EndpointFacts, EngineFacts, LastFault, StageFacts
from weak2wise.watch.screen import Header, Picture

QUESTIONS = 30


def board_of(stages: list[StageFacts], endpoints: list[EndpointFacts], engines: list[EngineFacts]) -> Board:
    return Board(
        seconds=3700,
        rows=100_000,
        ended=25_000,
        emitted=20_000,
        dropped=4_999,
        failed=1,
        to_retry=0,
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


def drawn(board: Board, width: int, height: int, header: Header | None = None) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(Picture(board, header))
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
    assert "The other stages wait for stepmask." in said
    for name in ("filter", "generate", "stepmask", "select", "sft"):
        assert any(line.startswith(name) and "1,234,567" in line and "89,012" in line for line in said)
    busiest = next(line for line in said if line.startswith("deep") and "29" in line.split())
    assert {"4,567", "$1,234.50"} <= set(busiest.split())
    assert ("more endpoints, less busy" in text) == (height < 60)
    words = " ".join(text.split())
    assert "48 of 53 attempts running, 12 waiting; 417 tokens/s" in words
    assert "25% 25,000 of 100,000 questions ended; 1:01:40, about 3:03:20 left, $1,234.50" in words
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


@pytest.mark.parametrize("width", [80, 100])
def test_calls_that_wait_for_off_peak_hours_are_shown_with_the_time(width: int) -> None:
    until = datetime(2026, 11, 27, 4, 0, tzinfo=UTC)
    held = EndpointFacts("strong", 0, 64, 9, 9, {}, 0, 0, 9, 0.0, held=1200, held_until=until)
    other = EndpointFacts("weak", 1, 64, 9, 9, {}, 5, 4, 9, 0.0)
    said = drawn(board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], [held, other], []), width, 24)
    assert "strong: 1,200 calls wait for off-peak hours, Fri 04:00 UTC" in "\n".join(said)


def test_what_costs_nothing_has_no_price_in_the_terminal() -> None:
    endpoint = EndpointFacts("weak", 1, 64, 9, 9, {}, 5, 4, 9, 0.0)
    said = "\n".join(drawn(board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], [endpoint], []), 80, 24))
    assert "cost" not in said


@pytest.mark.parametrize("width", [80, 120])
def test_the_header_names_the_run_its_page_and_its_budget_and_endpoints_have_their_roles(width: int) -> None:
    page = "http://127.0.0.1:36623/?token=EQF09vPcuSTBziGpq0kACg"
    roles = {"strong-a": ["strong"], "flash": ["judge", "truncation"], "small": ["weak"]}
    header = Header("runs/of-this-week/config.yaml", "/data/" + "long/" * 30 + "work", roles, 20.0, page)
    endpoints = [EndpointFacts(name, 1, 64, 9, 9, {}, 5, 4, 9, 0.0) for name in ("strong-a", "flash")]
    engines = [EngineFacts("small", 48, 53, 12, 500, 417.0, 99, 0.15)]
    said = drawn(board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], endpoints, engines), width, 30, header)
    text = "\n".join(said)
    assert max(map(len, said)) <= width
    assert "config runs/of-this-week/config.yaml" in text
    assert "budget $1,234.50 of $20.00" in text
    assert f"page {page}" in text, "an address is whole or of no use"
    assert any(line.startswith("work_dir /data/long") and line.endswith("work") for line in said)
    assert re.search(r"^flash +judge, truncation ", text, re.MULTILINE)
    assert re.search(r"^strong-a +strong ", text, re.MULTILINE)
    assert "small (weak): 48 of 53" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_last_error_is_shown_in_its_words_on_two_lines_at_most(width: int) -> None:
    words = "strong-a: HTTP 500: The server had an error while processing your request. Sorry about that!\x1b[2J " * 5
    board = structs.replace(
        board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], [], []), last_fault=LastFault("strong-a", words, 75.2)
    )
    said = drawn(board, width, 24)
    at = next(number for number, line in enumerate(said) if line.startswith("last error (strong-a, 0:01:15 ago): HTTP"))
    shown = said[at : next(number for number, line in enumerate(said) if "25%" in line)]
    assert len(shown) <= 2
    assert shown[-1].endswith(" …")
    whole = set(words.replace("\x1b", " ").split())
    assert set(" ".join(shown[:1]).partition("ago): ")[2].split()) <= whole, "no line ends inside a word"


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def test_the_terminal_has_the_colours_of_the_page_and_they_can_be_read_on_black_and_on_white() -> None:
    style = (ROOT / "weak2wise" / "outputs" / "report" / "style.css").read_text()
    light = dict(re.findall(r"--(c\d): light-dark\((#\w+),", style))
    shown = {"c0": screen.BLUE, "c1": screen.ORANGE, "c2": screen.GREEN, "c5": screen.RED}
    for name, color in shown.items():
        assert abs(rgb_to_hls(*_rgb(color))[0] - rgb_to_hls(*_rgb(light[name]))[0]) < 0.01, name
        bright = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _rgb(color)]
        luminance = 0.2126 * bright[0] + 0.7152 * bright[1] + 0.0722 * bright[2]
        assert min((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)) >= 4.5, f"{name}: the contrast WCAG asks for"


def test_a_share_is_rounded_down_so_that_100_percent_is_all() -> None:
    board = board_of([StageFacts("sft", 1, 0, 0, 1, 1, 0, 1)], [], [])
    assert "99%" in drawn(structs.replace(board, ended=99_999), 80, 24)[-1]
    assert "100%" in drawn(structs.replace(board, ended=100_000), 80, 24)[-1]


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

    def heads(shown: str) -> dict[str, int]:
        first = [line.split()[0] for line in shown.splitlines() if line.split()]
        return {word: first.count(word) for word in ("config", "stage", "endpoint")}

    with LoopbackProcess(latency=1.0) as server:
        config = config_for(tmp_path, server.base_url)
        config["model_endpoints"]["weak"]["max_concurrent_requests"] = 4
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 800.0}
        write_run(tmp_path, config, QUESTIONS)
        engine = f"{sys.executable} -m weak2wise.engine --config {tmp_path / 'config.yaml'}"
        run = f"env -u COLUMNS -u LINES {engine}; sleep 60"
        ask("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(ROOT), run)
        try:
            live = wait_for("  $")
            for columns in (width - 20, width):
                ask("resize-window", "-x", str(columns), "-y", str(height))
                end = time.monotonic() + 20
                while heads(resized := ask("capture-pane", "-p")) != {"config": 1, "stage": 1, "endpoint": 1}:
                    assert time.monotonic() < end, resized
                    time.sleep(0.2)
                time.sleep(2 * screen.EVERY)
                assert set(heads(ask("capture-pane", "-p")).values()) == {1}, "nor with the next picture"
            ask("send-keys", "C-c")
            ended = wait_for("Interrupted")
        finally:
            ask("kill-server")
    live = live[live.index("") + 1 :]
    assert [line.split()[0] for line in live[1:6]] == ["filter", "generate", "stepmask", "select", "sft"]
    table = live[live.index("") + 1 :]
    head = ["endpoint", "role", "active", "limit", "calls/min", "tokens/min", "429s", "errors", "cost"]
    assert table[0].split() == head
    assert [line.split()[:2] for line in table[1:6]] == [
        ["weak", "weak"],
        ["strong-a", "strong"],
        ["strong-b", "strong"],
        ["judge", "judge"],
        ["trunc", "truncation"],
    ]
    assert not any("of 30 questions ended" in line for line in ended)  # the picture has made room
