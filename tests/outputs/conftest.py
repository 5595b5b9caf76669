"""Reports to look at, and the browser to look with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.browser import chromium
from tests.finished_run import FinishedRun, command
from weak2wise.ledger.manifest import InputDigest, Manifest
from weak2wise.ledger.outcomes import Done, Failed
from workers.records import Candidate, Golden, Question, Scored, SftRow
from workers.scorers.masking import score

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """One for a module: while it is open, no event loop can run beside it."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def report(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the finished run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert command("report", finished.work, "--out", path) == 0
    return path


HOSTILE = (
    "<script>document.title='hit'</script></script><img src=x onerror=\"document.title='hit'\">"
    "<style>body{display:none}</style></div></details><!-- \x1b[2J\x1b[31m \x00 \u202e\u2066\u200f "
    r"\(\text{<script>document.title='hit'</script>}\) $\href{javascript:alert(1)}{x}$ \[\frac{1}{2}\] {{ & &lt; "
)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work_dir whose every text would act if it could; one of them is a megabyte long."""
    folder = tmp_path_factory.mktemp("hostile")
    question = Question(row=1, id=HOSTILE, text=HOSTILE, answer=HOSTILE)
    candidate = Candidate(
        m_strong=HOSTILE,
        sample=0,
        step_reasoning=HOSTILE,
        step_list=(f"## {HOSTILE}\n{HOSTILE}", "x" * 100_000),
        normal=HOSTILE + "y" * 1_000_000,
        normal_is_own=True,
    )
    bits = score((1, 0), beta=0.5, normalization="reference")
    golden = Golden(question=question, winner=candidate, score=bits, truncated=HOSTILE, cut_by=HOSTILE)
    outcomes: dict[str, list[Any]] = {
        "stepmask": [Done(1, Scored(question=question, candidates=(candidate,), scores=(bits,)), 1.5)],
        "select": [
            Done(1, golden, 0.5),
            Failed(row=2, stage="select", kind=HOSTILE, message=HOSTILE, title=HOSTILE),
        ],
        "sft": [Done(1, SftRow(question=question, prompt=HOSTILE, response=HOSTILE))],
    }

    for name, all_of in outcomes.items():
        (folder / "ledger" / name).mkdir(parents=True)
        lines_of = b"".join(msgspec.json.encode(outcome) + b"\n" for outcome in all_of)
        (folder / "ledger" / name / "00000.jsonl").write_bytes(lines_of)
    shape = {"models.mweak": HOSTILE, "models.mstrong": [HOSTILE], "models.judge": None, "models.truncation": None}
    manifest = Manifest(created=HOSTILE, shape=shape, input=InputDigest(0, HOSTILE))
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    (folder / "run.log").write_text(json.dumps({"event": "run.started", "input": HOSTILE, "timestamp": HOSTILE}) + "\n")
    return folder
