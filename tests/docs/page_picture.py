"""Makes docs/page.png: the page of a run against the tests' own server, as ``python -m tests.docs.page_picture``."""

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.browser import chromium
from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import Fault, LoopbackProcess, Match
from tests.watch.looking import page_of

PICTURE = ROOT / "docs" / "page.png"
QUESTIONS = 400
WIDTH, HEIGHT = 1200, 1250
SHOWN = "() => document.querySelectorAll('#charts .trend').length > 6 && document.querySelector('.losses .message')"
"""Holds when the charts have lines and a failed question is shown."""


def main() -> None:
    """Run slowly, take the picture in the middle, and stop."""
    faults = (
        Fault("400", Match(model="strong-a", contains="(item 12"), times=None),
        Fault("429", Match(model="strong-a"), times=3),
    )
    with TemporaryDirectory() as name, LoopbackProcess(latency=0.8, faults=faults) as server, chromium() as browser:
        folder = Path(name) / "math"
        config = config_for(folder, server.base_url)
        for endpoint in config["model_endpoints"].values():
            endpoint["max_concurrent_requests"] = 16
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 8.0}
        config["model_endpoints"]["strong-b"]["prices"] = {"input": 1.0, "output": 4.0}
        write_run(folder, config, QUESTIONS)
        words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
            page.goto(page_of(run))
            page.wait_for_function(SHOWN, timeout=120_000)
            page.locator("details.trace").nth(2).wait_for(timeout=120_000)
            page.wait_for_timeout(25_000)
            # No path of this machine is for the documentation.
            page.evaluate(
                "root => { const box = document.getElementById('about');"
                " box.innerHTML = box.innerHTML.replaceAll(root, '/data'); }",
                name,
            )
            page.screenshot(path=PICTURE)
            run.send_signal(signal.SIGINT)
            run.wait(60)


if __name__ == "__main__":
    main()
