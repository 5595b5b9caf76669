"""Measure the cost of watching: the engine's CPU per answer with terminal, page and metrics, and without.

The same run against the loopback server, at about 500 requests a second, in turns unwatched and watched: on a
pseudo-terminal, with the page open and the metrics scraped every five seconds. Linux only.

    python scripts/bench_watch.py [--questions 3000] [--rounds 5]
"""

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import LoopbackProcess

SCRAPE_SECONDS = 5.0


def _request(url: str, path: str) -> urllib.request.Request:
    base, _, token = url.partition("?token=")
    return urllib.request.Request(base + path, headers={"Authorization": f"Bearer {token}"})


def _follow(url: str, ended: threading.Event) -> None:
    """Keep the page's stream open and scrape the metrics, as a browser and Prometheus do."""

    def scrape() -> None:
        while not ended.wait(SCRAPE_SECONDS):
            with suppress(OSError):  # the run may have ended just now
                urllib.request.urlopen(_request(url, "metrics"), timeout=5).read()

    threading.Thread(target=scrape, daemon=True).start()
    with urllib.request.urlopen(_request(url, "events"), timeout=30) as stream:
        while stream.readline():
            pass


def cpu_per_answer(questions: int, *, watched: bool) -> tuple[float, float]:
    """Milliseconds of the engine's CPU per answer, and answers a second."""
    with tempfile.TemporaryDirectory() as name, LoopbackProcess(latency=0.15, uvloop=True) as server:
        folder = Path(name)
        config = config_for(folder, server.base_url, n_mask=2, judge_mode="rule")
        for endpoint in config["model_endpoints"].values():
            endpoint["max_concurrent_requests"] = 48
        write_run(folder, config, questions)
        command = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml")]
        ours, theirs = pty.openpty() if watched else (-1, subprocess.DEVNULL)
        extra = ["--page", "0"] if watched else []
        process = subprocess.Popen([*command, *extra], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs)
        if watched:
            os.close(theirs)
            _watch(ours)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the engine ended with {os.waitstatus_to_exitcode(status)}")
        answers = sum(model.answered for model in server.stats().models.values())
        seconds = float((folder / "work" / "summary.json").read_text().partition('"seconds":')[2].split(",")[0])
    return 1000 * (usage.ru_utime + usage.ru_stime) / answers, answers / seconds


def _watch(terminal: int) -> None:
    """Read the terminal to its end, and open the page that its first line names."""
    output, ended = b"", threading.Event()
    following: threading.Thread | None = None
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if following is None:
            output += chunk
            if b"The page: " in output and b"\n" in output.partition(b"The page: ")[2]:
                url = output.partition(b"The page: ")[2].split()[0].decode()
                following = threading.Thread(target=_follow, args=(url, ended), daemon=True)
                following.start()
    ended.set()
    os.close(terminal)


def main() -> None:
    """Run in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--questions", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for number in range(options.rounds):
        plain, rate = cpu_per_answer(options.questions, watched=False)
        watched, watched_rate = cpu_per_answer(options.questions, watched=True)
        ratios.append(watched / plain)
        print(
            f"round {number + 1}: {plain:.3f} ms CPU an answer unwatched ({rate:,.0f} answers/s), "
            f"{watched:.3f} ms watched ({watched_rate:,.0f} answers/s), ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"watching: median {statistics.median(ratios):.3f} of the CPU ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
