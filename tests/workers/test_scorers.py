"""A scorer of somebody else's, named by its import path, goes through every command; and what a wrong one is told."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_preview import preview
from tests.contexts import context
from tests.engine_runs import finish, lines, run_in
from tests.loopback import LoopbackProcess
from weak2wise.config import Params
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.outputs.report.page import page
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.watch import gallery
from workers.records import Candidate, Golden, Question, Score, Scored, Traced
from workers.score import ScoreCandidates
from workers.scorers import Scorer, StepMask, describer, scorer_named

SHORTEST = """\
from workers.records import Score
from workers.scorers import Scorer


class Shortest(Scorer):
    version = "1"
    label = "measured by length"

    async def __call__(self, traced):
        words = [len(candidate.normal.split()) for candidate in traced.candidates]
        return [Score(score=-float(count), evidence={"words": count}) for count in words]

    @staticmethod
    def explain(score):
        return f"{score.evidence['words']} words long"


class Unnumbered(Shortest):
    version = None


class Ruler:
    version = "1"


class Bound(Shortest):
    def explain(self, score):
        return "?"
"""


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module ``my_shortest``, that this process and its children can import."""
    (tmp_path / "my_shortest.py").write_text(SHORTEST)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return tmp_path


@pytest.mark.slow
def test_a_scorer_named_by_import_path_goes_through_every_command(my_lab: Path, server: LoopbackProcess) -> None:
    folder = my_lab
    run_in(folder, server.base_url, 5, scorer="my_shortest:Shortest")
    assert "my_shortest:Shortest makes no calls to score traces" in " ".join(finish(folder, command="check").split())
    said = preview(folder, "-n", "1", code=0)
    assert re.search(r" \d+ words long  -\d+\.000  strong-", said)
    assert "masked" not in said
    assert "Step-Mask" not in finish(folder)

    shape = json.loads((folder / "work" / "manifest.json").read_text())["shape"]
    assert (shape["params.scorer"], shape["params.scorer.version"]) == ("my_shortest:Shortest", "1")
    chosen = {line["row"]: line for line in lines(folder / "work" / "selected_truncated.jsonl")}
    scored = lines(folder / "work" / "scored_candidates.jsonl")
    assert len(chosen) > 0
    for row, winner in chosen.items():
        words = [len(line["normal"].split()) for line in scored if line["row"] == row]
        assert [line["debug"] for line in scored if line["row"] == row] == [{"words": count} for count in words]
        assert (winner["score"], winner["debug"]) == (-min(words), {"words": min(words)})

    finish_on(folder, "export", "--out", "jsonl", "--provenance")
    exported = lines(folder / "jsonl" / "train.jsonl")
    assert [json.loads(row["provenance"]["evidence"]) for row in exported] == [w["debug"] for w in chosen.values()]
    assert all("s_list" not in row["provenance"] for row in exported)
    finish_on(folder, "export", "--out", "train.parquet", "--provenance")
    finish_on(folder, "report")
    report = (folder / "work" / "report.html").read_text()
    assert "measured by length" in report
    assert f"{-chosen[min(chosen)]['score']:.0f} words long" in report
    assert "mask level" not in report


def finish_on(folder: Path, command: str, *arguments: str) -> str:
    """A command on the folder's work_dir, from that folder."""
    full = [sys.executable, "-m", "weak2wise.engine", command, str(folder / "work"), *arguments]
    done = subprocess.run(full, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_run_is_still_reported_when_its_scorer_cannot_be_imported_any_more(
    my_lab: Path, server: LoopbackProcess
) -> None:
    run_in(my_lab, server.base_url, 3, scorer="my_shortest:Shortest")
    finish(my_lab)
    (my_lab / "my_shortest.py").unlink()
    assert "params.scorer: my_shortest cannot be imported" in finish(my_lab, code=2)
    work = WorkDir(my_lab / "work")
    assert work.scorer is Scorer
    shown = "".join(page(work))
    assert ">scored</text>" in shown
    assert re.search(r">words \d+<", shown)
    finish_on(my_lab, "export", "--out", "later", "--provenance")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stepmsk", "params.scorer: no scorer 'stepmsk' (an import path is module:Class); did you mean stepmask?"),
        (
            "?",
            "no scorer '?' (an import path is module:Class); known here: stepmask, random, first, shortest, longest,",
        ),
        ("my_shortest:Longest", "params.scorer: my_shortest has no Longest"),
        ("no_such_lab:Shortest", "params.scorer: no_such_lab cannot be imported: ModuleNotFoundError"),
        ("my_shortest:Score", "params.scorer: my_shortest:Score is not a subclass of weak2wise.Scorer"),
        ("my_shortest:Unnumbered", "params.scorer: my_shortest:Unnumbered has no version; give the class one"),
        ("my_shortest:Bound", "params.scorer: my_shortest:Bound.explain takes a score alone; make it a @staticmethod"),
    ],
)
@pytest.mark.usefixtures("my_lab")
def test_what_is_no_scorer_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        scorer_named(name)
    assert describer(name) is Scorer
    assert describer("stepmask") is StepMask


class Returning(Scorer):
    """Says what it is given to say."""

    scores: tuple[Score, ...] = ()

    async def __call__(self, traced: Traced, /) -> tuple[Score, ...]:
        assert traced.candidates
        return self.scores


def traced() -> Traced:
    candidates = (
        Candidate(m_strong="m", sample=i, step_reasoning="", step_list=(), normal="n", normal_is_own=True)
        for i in range(2)
    )
    return Traced(question=Question(row=1, id=None, text="?", answer="5"), candidates=tuple(candidates))


@pytest.mark.parametrize("scores", [(Score(score=1.0),), (Score(score=1.0), Score(score=float("nan")))])
async def test_a_scorer_that_gives_no_number_for_each_candidate_stops_the_run(scores: tuple[Score, ...]) -> None:
    scorer = Returning(context(Params()))
    scorer.scores = scores
    with pytest.raises(RunStopped, match=r"params\.scorer: Returning returned .* expected 2 finite scores"):
        await ScoreCandidates(scorer, faithful_only=False)(traced())


def test_the_page_shows_evidence_in_the_scorers_words_and_no_masked_hints(my_lab: Path) -> None:
    scorer, record = scorer_named(f"{(my_lab / 'my_shortest.py').stem}:Shortest"), traced()
    by_length, by_masking = Score(score=-3.0, evidence={"words": 3}), Score(score=0.6, s_list=(1,) * 6)
    for score, words, hints in ((by_length, 1, 0), (by_masking, 0, 6)):
        winner = record.candidates[0]
        golden = Golden(question=record.question, winner=winner, score=score, truncated="n", cut_by="rule")
        scored = Scored(question=record.question, candidates=(winner,), scores=(score,))
        shown = gallery.shown(golden, scored, scorer)
        assert shown.count("3 words long") == words
        assert shown.count('class="hint"') == hints
        assert ("3 words long" in str(gallery.entry(golden, scorer)["facts"])) == bool(words)


async def test_a_score_without_evidence_is_not_taken_for_one_by_masking() -> None:
    scorer = Returning(context(Params()))
    scorer.scores = (Score(score=1.0), Score(score=2.0))
    scored = await ScoreCandidates(scorer, faithful_only=False)(traced())
    assert isinstance(scored, Scored)
    assert [(score.is_masked, score.debug) for score in scored.scores] == [(False, {})] * 2
