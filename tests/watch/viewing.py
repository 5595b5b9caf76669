"""``weak2wise view`` in a process of its own, as a shell would start it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engine_runs import ROOT


@contextmanager
def viewing(*folders: Path, **options: str) -> Iterator[str]:
    """The URL of the page of these work_dirs, with its token."""
    words = [sys.executable, "-m", "weak2wise", "view", *map(str, folders), "--port", "0"]
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        yield process.stderr.readline().removeprefix("The page: ").strip()
        process.terminate()
        assert process.wait(30) == 130
