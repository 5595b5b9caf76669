"""Batches for real against a server that is not ours: AIBrix's metadata service, in front of the loopback server.

Each row of the table is one work_dir: gone through without a stop; with a window of two minutes that is over before all
lines are done; killed while batches are out; interrupted while they are out. Then the output file must have the bytes
of an ordinary run, and the models behind AIBrix must have answered as many calls, each once.

``scripts/aibrix.sh`` sets up and calls it.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine_runs import ROOT, config_for, finish, start, write_run
from tests.loopback import Fault, LoopbackProcess, Match, Stats

QUESTIONS = 60
WINDOW = "2min"
SLOW = Fault("slow_drip", Match(model="strong"), times=None, seconds=1.0)
"""Gives time to stop a run while its batches are out."""
VERY_SLOW = Fault("slow_drip", Match(contains='"strong-a"'), times=30, seconds=50.0)
"""AIBrix asks about ten at once: when the window is over, some lines are done and some were never asked."""
FINAL = {"completed", "failed", "expired", "cancelled"}


@dataclass
class Row:
    """One row of the table."""

    what: str
    batches: Counter[str]
    needed: int
    paid: int
    seconds: float

    def __str__(self) -> str:
        batches = ", ".join(f"{count} {status}" for status, count in sorted(self.batches.items()))
        return f"{self.what:<46}  {batches:<26}  {self.needed:>6}  {self.paid:>4}  {self.seconds:>7.0f}"


HEAD = f"{'run':<46}  {'batches':<26}  {'needed':>6}  {'paid':>4}  {'seconds':>7}"


class Aibrix:
    """The running service."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def batches(self) -> list[Any]:
        """All batches, as it describes them."""
        batches: list[Any] = self._read("batches?limit=100")["data"]
        return batches

    def out(self) -> int:
        """Batches that have not ended."""
        return sum(batch["status"] not in FINAL for batch in self.batches())

    def has_file(self, file_id: str) -> bool:
        """Whether it still has a file."""
        try:
            self._read(f"files/{file_id}")
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
            return False
        return True

    def _read(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.base_url}/{path}", timeout=30) as response:
            return json.loads(response.read())


@contextmanager
def aibrix(python: str, folder: Path, gateway: str) -> Iterator[Aibrix]:
    """The service in front of ``gateway``; its files are in a folder of its own."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, str(ROOT / "scripts" / "aibrix_server.py"), gateway, "--host", "127.0.0.1", "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(process, port, folder / "log")
        yield Aibrix(f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"AIBrix did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.2)
        else:
            return


class Trial:
    """The runs, all of the same questions."""

    def __init__(self, python: str, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self._calm = b""
        self._needed = 0

    def rows(self) -> Iterator[Row]:
        """Run one after another. Raises ``AssertionError`` if one is wrong."""
        yield self._ordinary()
        yield self._batched("batches", ())
        row = self._batched(f"a window of {WINDOW} that is over too early", (VERY_SLOW,))
        assert row.batches["expired"] >= 1, row
        yield row
        yield self._batched("killed while batches were out, started again", (SLOW,), signal.SIGKILL, -9)
        yield self._batched("Ctrl-C while batches were out, started again", (SLOW,), signal.SIGINT, 130)

    def _prepare(self, server: LoopbackProcess, strong_url: str | None) -> None:
        for name in ("work", "out.jsonl"):
            path = self._folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        config = config_for(self._folder, server.base_url, n_mask=3, skip_filter=True)
        for name in config["models"]["mstrong"] if strong_url else ():
            batch = {"max_wait": "500ms", "poll": "500ms", "window": WINDOW}
            config["model_endpoints"][name] |= {"base_url": strong_url, "batch": batch}
        write_run(self._folder, config, QUESTIONS)

    def _ordinary(self) -> Row:
        began = time.monotonic()
        with LoopbackProcess() as server:
            self._prepare(server, None)
            finish(self._folder)
            self._needed = answered(server.stats())
        self._calm = (self._folder / "out.jsonl").read_bytes()
        return Row("ordinary calls", Counter(), self._needed, self._needed, time.monotonic() - began)

    def _batched(self, what: str, faults: tuple[Fault, ...], stop: int = 0, code: int = 0) -> Row:
        began = time.monotonic()
        folder = self._folder / f"aibrix-{len(list(self._folder.glob('aibrix-*')))}"
        with (
            LoopbackProcess(faults=faults) as server,
            aibrix(self._python, folder, server.base_url.removesuffix("/v1")) as service,
        ):
            self._prepare(server, service.base_url)
            if stop:
                self._stop_while_out(service, stop, code)
                assert service.out(), "no batch was left running"
            with start(self._folder) as process:
                said, _ = process.communicate(timeout=400)
            assert process.returncode == 0, said
            stats, batches = server.stats(), service.batches()
            kept = {file for batch in batches for file in _files(batch) if service.has_file(file)}
        row = Row(what, Counter(batch["status"] for batch in batches), self._needed, answered(stats), 0.0)
        row.seconds = time.monotonic() - began
        assert row.paid == row.needed, row
        assert max(request.answered for request in stats.requests.values()) == 1, row
        assert (self._folder / "out.jsonl").read_bytes() == self._calm, row
        assert not kept, f"files are left at AIBrix: {kept}"
        return row

    def _stop_while_out(self, service: Aibrix, stop: int, code: int) -> None:
        with start(self._folder) as process:
            deadline = time.monotonic() + 60
            while service.out() < 2 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            os.kill(process.pid, stop)
            said, _ = process.communicate(timeout=60)
        assert process.returncode == code, said


def _files(batch: Any) -> list[str]:
    names = ("input_file_id", "output_file_id", "error_file_id")
    return [batch[name] for name in names if batch.get(name)]


def answered(stats: Stats) -> int:
    """Calls answered by all models."""
    return sum(model.answered for model in stats.models.values())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.run.batch_aibrix", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--python", required=True, help="the Python that has AIBrix")
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="aibrix-") as name:
        for row in Trial(arguments.python, Path(name)).rows():
            print(row, flush=True)
    print(f"every run: {QUESTIONS} questions, each answer paid once, the file of the ordinary run, no file left behind")


if __name__ == "__main__":
    main()
