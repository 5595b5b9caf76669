"""A begun work_dir keeps the version of the rules that it was begun with."""

import json
from pathlib import Path

import pytest

from tests.engine_runs import finish, lines, run_in
from tests.loopback import LoopbackProcess
from workers.rules import RULES

pytestmark = pytest.mark.slow

SCORER = """\
from workers.records import Score
from workers.scorers import Scorer


class Telling(Scorer):
    version = "1"

    async def __call__(self, traced):
        judge = self.context.judge
        return [Score(score=1.0, evidence={"rules": [self.context.rules, judge.rules]}) for _ in traced.candidates]
"""


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config whose scorer writes down the rules, which this process's children can import."""
    (tmp_path / "my_telling.py").write_text(SCORER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    return tmp_path


def test_a_run_decides_by_the_rules_in_its_manifest_to_its_end(begun: Path) -> None:
    path = begun / "work" / "manifest.json"
    with LoopbackProcess() as server:
        run_in(begun, server.base_url, questions=8, scorer="my_telling:Telling", skip_filter=True)
        finish(begun, "--limit", "2")
        manifest = json.loads(path.read_text())
        assert manifest["rules"] == RULES
        del manifest["rules"]  # as an older version left it
        path.write_text(json.dumps(manifest))
        finish(begun)
    scored = lines(begun / "work" / "scored_candidates.jsonl")
    told = [row["debug"]["rules"] for row in scored]
    assert len(told) == 16
    assert told == [[RULES, RULES]] * 4 + [[1, 1]] * 12


def test_a_run_that_newer_rules_began_is_not_gone_on_with(begun: Path) -> None:
    path = begun / "work" / "manifest.json"
    with LoopbackProcess() as server:
        run_in(begun, server.base_url, questions=2, scorer="my_telling:Telling", skip_filter=True)
        finish(begun, "--limit", "1")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"rules": RULES + 1}))
        said = finish(begun, code=2)
    assert f"begun with rules {RULES + 1}" in said
