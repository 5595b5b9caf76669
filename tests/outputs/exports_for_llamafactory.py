"""As a program, makes a small run and its exports that LLaMA-Factory reads (scripts/llamafactory.sh)."""

import sys
from pathlib import Path

from tests.engine_runs import config_for, finish, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from weak2wise.outputs.layouts import LAYOUTS

QUESTIONS = 20


def main(folder: Path) -> None:
    """Write ``golden-LAYOUT`` for each layout, and one with the template ``think``."""
    with LoopbackProcess() as server:
        write_run(folder, config_for(folder, server.base_url), QUESTIONS)
        finish(folder)
    made: dict[str, list[str]] = {
        name: ["--format", name] for name, layout in LAYOUTS.items() if layout.info is not None
    }
    made["think"] = ["--format", "sharegpt", "--response", "think"]
    for name, arguments in made.items():
        if command("export", folder / "work", "--out", folder / f"golden-{name}", *arguments):
            raise SystemExit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
