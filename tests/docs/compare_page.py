"""Runs the commands of docs/how-to/compare.md; as a program, writes their outputs into the page."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.docs.cost_page import blocks, written
from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import LoopbackProcess

PAGE = ROOT / "docs" / "how-to" / "compare.md"
QUESTIONS = 40


def outputs(folder: Path, page: str) -> Iterator[tuple[str, str]]:
    """Run the page's commands in an empty folder, with the models replaced by the test server."""
    with LoopbackProcess() as server:
        config = config_for(folder, server.base_url, samples_per_model=2)
        config["dataset"]["work_dir"] = "data/work"
        write_run(folder, config, QUESTIONS)
        (folder / "config.yaml").rename(folder / "run.yaml")
        for command, _ in blocks(page):
            done = subprocess.run(
                [sys.executable, "-m", "weak2wise.engine", *command.split()],
                cwd=folder,
                env=os.environ | {"COLUMNS": "100", "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            shown = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
            yield command, f"{shown}\n" if command.startswith("compare") else ""


def main() -> None:
    """Write the outputs into the page."""
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(written(page, outputs(Path(folder), page)))


if __name__ == "__main__":
    main()
