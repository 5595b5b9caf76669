"""Each scorer by name, through a whole run: what it chooses, what is shown of it, and what it never asks twice."""

import json
import re
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

import weak2wise
from tests import scoring_endpoint
from tests.api.runs import config_at, questions
from tests.engine_runs import finish, lines, rewrite, run_in
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from tests.scoring_endpoint import Likely, asked
from weak2wise.commands.preview import show
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.errors import ConfigError, single_errors
from weak2wise.outputs.report.text import escape
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.watch.gallery import entry, shown
from workers.records import Score
from workers.scorers import LOGPROB_SCORERS, NAMES, score_text, scorer_named


def config_for(name: str, weak: str = "Likely", **params: Any) -> weak2wise.Config:
    """Three traces a question, all on endpoints in this process."""
    kinds = {"weak": f"tests.scoring_endpoint:{weak}", "strong-a": "tests.scoring_endpoint:Samples"}
    endpoints = {at: decode_endpoint({"type": kind, "model_id": at}, at) for at, kind in kinds.items()}
    given = weak2wise.Params(scorer=name, samples_per_model=3, n_mask=3, judge_mode="rule", skip_filter=True, **params)
    return config_at("http://unused", endpoints=endpoints, params=given)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    asked.clear()
    Likely.calls_left = None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_a_run_with_this_scorer_is_shown_everywhere_in_its_words(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await weak2wise.asynthesize(questions(4), config_for(name), work_dir=tmp_path / "work")
    assert run.totals.emitted == 4
    scorer = scorer_named(name)
    assert run.settings["params.scorer"] == name
    assert run.settings.get("params.scorer.version") == (None if name == "stepmask" else "1")
    for scored, golden in zip(run.scores(), run.golden(), strict=True):
        chosen = scored.scores[scored.candidates.index(golden.winner)]
        assert chosen == golden.score
        assert not chosen.is_bound
        assert all(score.is_bound or score.score <= chosen.score for score in scored.scores), "higher is better"

    opened = shown(golden, scored, scorer)  # on the live page
    assert escape(scorer.ranking[:60]) in opened
    assert score_text(golden.score) in opened
    assert score_text(golden.score) in str(entry(golden, scorer))
    assert ("as the weak LLM saw it" in opened) == (name in ("stepmask", "full_hint"))
    console = Console(file=StringIO(), width=1000)
    show(WorkDir(run.work_dir), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"the winner has {scorer.ranking}" in said
    assert scorer.explain(golden.score) in said
    assert command("report", str(run.work_dir)) == 0
    report = (run.work_dir / "report.html").read_text()
    assert re.sub("[<>&'].*", "", scorer.ranking) in report
    assert scorer.label in report
    assert ("One cell for each mask level" in report) == (name == "stepmask")
    assert ("<h2>Step-Mask</h2>" in report) == (name == "stepmask")
    assert ("<h2>Whole traces as hints</h2>" in report) == (name == "full_hint")
    assert ("Steps that were masked" in report) == (name == "stepmask")
    assert score_text(golden.score) in report
    capsys.readouterr()
    assert command("status", str(run.work_dir)) == 0
    assert ("stepmask  " if name == "stepmask" else f"stepmask ({name})") in capsys.readouterr().out
    out = tmp_path / "out"
    assert command("export", str(run.work_dir), "--out", str(out), "--provenance") == 0
    card = (out / "README.md").read_text()
    assert ("guides the weak LLM when most of it is masked wins" if name == "stepmask" else scorer.ranking) in card
    exported = [json.loads(line)["provenance"]["score"] for line in (out / "train.jsonl").read_text().splitlines()]
    assert exported == [found.score.score for found in run.golden()]
    assert bool(asked) == (name in LOGPROB_SCORERS)


async def test_a_trace_that_was_not_measured_is_shown_without_a_number(tmp_path: Path) -> None:
    """Neither its bound, which is the best number there is, nor as if a race had left it."""
    run = await weak2wise.asynthesize(questions(4), config_for("grape"), work_dir=tmp_path / "work")
    unmeasured = Score(score=0.0, is_bound=True, evidence={"not_measured": "context_overflow"})
    shard = run.work_dir / "ledger" / "stepmask" / "00000.jsonl"
    rows = lines(shard)
    for row in rows:
        row["record"]["scores"][0 if row["record"]["scores"][0] != best(row) else 1] = msgspec.to_builtins(unmeasured)
    rewrite(shard, rows)
    console = Console(file=StringIO(), width=1000)
    show(WorkDir(run.work_dir), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("too long for the weak LLM") == 4
    assert command("report", str(run.work_dir)) == 0
    report = (run.work_dir / "report.html").read_text()
    assert "4 traces could not be measured" in report
    for text in (said, report):
        assert "at most" not in text
        assert "upper bound" not in text


def best(row: dict[str, Any]) -> dict[str, Any]:
    """The best score of a line of the ledger."""
    scores: list[dict[str, Any]] = row["record"]["scores"]
    return max(scores, key=lambda score: float(score["score"]))


@pytest.mark.parametrize("value", [3e-9, 0.0004, -2.5, 0.0, -0.0002])
def test_a_small_score_is_not_shown_as_nothing(value: float) -> None:
    assert float(score_text(Score(score=value, evidence={}))) == pytest.approx(value, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rsr", "local_naturalness", "ifd", "likelihood"])
async def test_a_run_that_goes_on_asks_about_no_text_twice(name: str, tmp_path: Path) -> None:
    """Stopped after each third text, in the middle of a question, until it is done."""
    whole = await weak2wise.asynthesize(questions(3), config_for(name), work_dir=tmp_path / "whole")
    expected = list(whole.scores())
    texts = sum(asked.values())
    asked.clear()
    starts = 0
    while True:
        starts += 1
        Likely.calls_left = 3
        try:
            run = await weak2wise.asynthesize(questions(3), config_for(name), work_dir=tmp_path / "work")
        except weak2wise.RunStopped:
            continue
        break
    assert starts > 2
    assert list(run.scores()) == expected
    assert set(asked.values()) == {1}
    assert asked.total() == texts


@pytest.mark.parametrize("name", LOGPROB_SCORERS)
def test_an_endpoint_that_cannot_say_is_refused_before_anything_is_asked(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.mweak: weak cannot say .* another params\.scorer"):
        weak2wise.synthesize(questions(1), config_for(name, weak="Samples"), work_dir=tmp_path / "work")
    assert not (tmp_path / "work" / "manifest.json").exists()


@pytest.mark.slow
def test_over_http_it_is_refused_by_run_and_check_with_what_to_do(tmp_path: Path, server: LoopbackProcess) -> None:
    run_in(tmp_path, server.base_url, 2, scorer="grape")
    before = server.requests()
    assert "the embedded vLLM can (type: vllm)" in " ".join(finish(tmp_path, code=2).split())
    assert server.requests() == before
    assert "models.mweak: weak cannot say how likely" in " ".join(finish(tmp_path, command="check", code=2).split())


class Undeclared(weak2wise.Scorer):
    """Asks about a text without having said so."""

    version = "1"

    async def __call__(self, traced: weak2wise.Traced, /) -> list[weak2wise.Score]:
        prompt = weak2wise.Prompt(
            messages=(), temperature=0, seed=0, continuation=weak2wise.Continuation(traced.question.answer)
        )
        await self.context.models["weak"].complete(prompt)
        return []


async def test_a_scorer_that_asks_without_having_said_so_gets_no_sampled_answer_for_it(tmp_path: Path) -> None:
    config = config_for("tests.run.test_scorer_choice:Undeclared", weak="Samples")
    with pytest.raises((ConfigError, ExceptionGroup)) as caught:
        await weak2wise.asynthesize(questions(1), config, work_dir=tmp_path / "work")
    (error,) = single_errors(caught.value)
    assert "weak cannot say how likely a given text is" in str(error)
    assert not scoring_endpoint.asked


async def test_another_scorer_is_another_run(tmp_path: Path) -> None:
    await weak2wise.asynthesize(questions(1), config_for("grape"), work_dir=tmp_path / "work")
    with pytest.raises(ConfigError, match=r"Changed since: params\.scorer[.,]"):
        await weak2wise.asynthesize(questions(1), config_for("rsr"), work_dir=tmp_path / "work")
    with pytest.raises(ConfigError, match=r"Changed since: params\.scorer, params\.scorer\.version"):
        await weak2wise.asynthesize(questions(1), config_for("stepmask"), work_dir=tmp_path / "work")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_scores_of_an_earlier_scorer_are_selected_by_and_shown_after_a_change(name: str, tmp_path: Path) -> None:
    """Scored by GRAPE, selected under another scorer (``--resume force``): the best score still wins."""
    work = tmp_path / "work"
    await weak2wise.asynthesize(questions(3), config_for("grape"), work_dir=work)
    best = [golden.winner for golden in weak2wise.open_run(work).golden()]
    for step in ("select", "sft"):
        shutil.rmtree(work / "ledger" / step)
        shutil.rmtree(work / "ledger" / f"{step}.index", ignore_errors=True)
    run = await weak2wise.asynthesize(questions(3), config_for(name), work_dir=work, resume="force")
    if name not in ("shortest", "longest"):  # these put traces without thinking of their own last, whatever the score
        assert [golden.winner for golden in run.golden()] == best
    assert command("report", str(work)) == 0
    assert run.totals.emitted == 3
