"""Makes the pictures in docs/ from runs against the tests' own server, as ``python -m tests.docs.pictures``."""

import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tests.browser import chromium
from tests.engine_runs import ROOT, config_for, finish, write_run
from tests.finished_run import command
from tests.loopback import Fault, LoopbackProcess, Match
from tests.watch.looking import page_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = ROOT / "docs"
QUESTIONS = 400
WIDTH, HEIGHT = 1200, 1250
COLUMNS, LINES = 100, 24
SHOWN = "() => document.querySelectorAll('#charts .trend').length > 6 && document.querySelector('.losses .message')"
"""Holds when the charts have lines and a failed question is shown."""
FAULTS = (
    Fault("400", Match(model="strong-a", contains="(item 12"), times=None),
    Fault("429", Match(model="strong-a"), times=3),
)


def written(folder: Path, base_url: str) -> None:
    """A config with prices and its questions, in a folder."""
    config = config_for(folder, base_url)
    for endpoint in config["model_endpoints"].values():
        endpoint["max_concurrent_requests"] = 16
    config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 8.0}
    config["model_endpoints"]["strong-b"]["prices"] = {"input": 1.0, "output": 4.0}
    config["engine"] = {"max_cost_usd": 5.0}
    write_run(folder, config, QUESTIONS)


def page(folder: Path, browser: "Browser") -> None:
    """The page of a run, in the middle of it; the run is stopped."""
    words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        view.goto(page_of(run))
        view.wait_for_function(SHOWN, timeout=120_000)
        view.locator("details.trace").nth(2).wait_for(timeout=120_000)
        view.wait_for_timeout(25_000)
        # No path of this machine is for the documentation.
        view.evaluate(
            "root => { const box = document.getElementById('about');"
            " box.innerHTML = box.innerHTML.replaceAll(root, '/data'); }",
            str(folder.parent),
        )
        view.screenshot(path=DOCS / "page.png")
        run.send_signal(signal.SIGINT)
        run.wait(60)


def terminal(folder: Path, browser: "Browser", columns: int = COLUMNS, path: Path = DOCS / "terminal.png") -> None:
    """A real terminal during a run, in tmux; the run goes on to its end, without one, for the report."""
    tmux = shutil.which("tmux")
    assert tmux, "the picture of the terminal needs tmux"

    def ask(*words: str) -> str:
        done = subprocess.run([tmux, "-S", str(folder / "tmux"), *words], check=True, capture_output=True, text=True)
        return done.stdout

    run = shlex.join([sys.executable, "-m", "weak2wise", "--config", "config.yaml"])
    run = f"env -u COLUMNS -u LINES PYTHONPATH={shlex.quote(str(ROOT))} COLORTERM=truecolor {run}; sleep 60"
    size = ("-x", str(columns), "-y", str(LINES))
    ask("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), run)
    try:
        ask("set-option", "-sa", "terminal-features", ",*:RGB")
        end = time.monotonic() + 120
        while " left" not in (shown := ask("capture-pane", "-p")):
            assert time.monotonic() < end, shown
            time.sleep(0.5)
        time.sleep(3)
        seen = ask("capture-pane", "-p", "-e").rstrip("\n").replace(str(folder), "data")
    finally:
        ask("send-keys", "C-c")
        time.sleep(5)
        ask("kill-server")  # the run is stopped before: the report needs its work_dir
    console = Console(record=True, width=columns, file=(folder / "screen").open("w"), color_system="truecolor")
    console.print(Text.from_ansi(seen), soft_wrap=True)
    svg = console.export_svg(title="weak2wise --config run.yaml")
    view = browser.new_page(viewport={"width": 1300, "height": 800})
    view.set_content(f"<body style='margin:0'>{svg}</body>")
    view.locator("svg").first.screenshot(path=path)


def report(folder: Path, browser: "Browser") -> None:
    """The beginning of the report of a run that has ended."""
    finish(folder, code=1)
    assert command("report", folder / "work", "--out", folder / "report.html") == 0
    view = browser.new_page(viewport={"width": 1120, "height": 1340})
    view.goto((folder / "report.html").as_uri())
    view.screenshot(path=DOCS / "report.png")


def main() -> None:
    """Make all three."""
    with TemporaryDirectory() as name, LoopbackProcess(latency=0.8, faults=FAULTS) as server, chromium() as browser:
        written(Path(name) / "math", server.base_url)
        page(Path(name) / "math", browser)
    with TemporaryDirectory() as name, LoopbackProcess(latency=0.5, faults=FAULTS) as server, chromium() as browser:
        written(Path(name) / "data", server.base_url)
        terminal(Path(name) / "data", browser)
        report(Path(name) / "data", browser)


if __name__ == "__main__":
    main()
