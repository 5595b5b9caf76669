"""A run that achieves nothing says so, and never ends with exit code 0."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import config_for, finish, write_run
from tests.loopback import Fault, LoopbackProcess, Match, answers, serve
from weak2wise.outputs.warnings import Shares, warnings
from workers.records import Candidate, Question, Score, Scored, Traced

GUIDED = "to be continued"
"""What is in every guided attempt's prompt."""


def config_of(folder: Path, base_url: str, **params: Any) -> dict[str, Any]:
    config = config_for(folder, base_url, n_mask=2, scoring="exhaustive", **params)
    config["models"]["mstrong"] = ["strong-a"]
    return config


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "work" / "summary.json").read_text())
    return found


@pytest.mark.slow
def test_a_weak_model_that_takes_no_guided_attempt_fails_every_question(tmp_path: Path) -> None:
    """As vLLM does with a ``max_tokens`` that leaves no room for the hint; bare questions it answers."""
    too_long = Fault("400_context", Match(model="weak", contains=GUIDED), times=None)
    with LoopbackProcess(faults=(too_long,), solve=0.0) as server:
        write_run(tmp_path, config_of(tmp_path, server.base_url), 5)
        said = finish(tmp_path, code=1)
    assert "Warning: 5 of the last 5 questions at the step 'stepmask' failed, most of them for context_overflow" in said
    assert summary(tmp_path)["totals"]["failed"] == {"stepmask/context_overflow": 5}
    assert summary(tmp_path)["totals"]["emitted"] == 0
    with LoopbackProcess(solve=0.0) as server:
        moved = [f"--set=model_endpoints.{name}.base_url={server.base_url}" for name in ("weak", "strong-a", "judge")]
        finish(tmp_path, *moved, f"--set=model_endpoints.trunc.base_url={server.base_url}")
    assert summary(tmp_path)["totals"]["emitted"] == 5, "no score of 0 was kept"


@pytest.mark.slow
def test_such_a_weak_model_stops_a_long_run(tmp_path: Path) -> None:
    too_long = Fault("400_context", Match(model="weak", contains=GUIDED), times=None)
    with LoopbackProcess(faults=(too_long,), solve=0.0) as server:
        write_run(tmp_path, config_of(tmp_path, server.base_url, skip_filter=True), 200)
        said = finish(tmp_path, code=3)
    assert "of the last 100 " in said
    assert "context_overflow" in said


@pytest.mark.slow
@pytest.mark.parametrize("subtitle", ["### Step", "**Step"])
async def test_traces_without_steps_are_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtitle: str
) -> None:
    """Subtitles in another form: nothing can be masked, so the weak LLM is not asked."""
    write = answers._strong

    def written(*request: Any) -> tuple[str, str]:
        content, reasoning = write(*request)
        return content.replace("## Step", subtitle).replace("## Final", f"{subtitle} Final"), reasoning

    monkeypatch.setattr(answers, "_strong", written)
    short, long = tmp_path / "short", tmp_path / "long"
    async with serve(solve=0.0) as server:
        for folder, count in {short: 5, long: 150}.items():
            write_run(folder, config_of(folder, server.base_url, skip_filter=True), count)
        said = await asyncio.to_thread(finish, short, code=1)
        assert "Warning: 5 of the last 5 questions at the step 'stepmask' failed, most of them for no_steps" in said
        assert "Warning: 5 of 5 traces have no steps" in said
        assert summary(short)["totals"]["emitted"] == 5, "the method takes them all the same"
        said = await asyncio.to_thread(finish, long, code=3)
        assert "of the last 100 questions at the step 'stepmask' failed, most of them for no_steps" in said
        assert "weak" not in server.stats.models


@pytest.mark.slow
def test_a_role_that_only_gave_empty_answers_is_no_success(tmp_path: Path) -> None:
    """The rule cuts where the truncation model says nothing, so every question is emitted all the same."""
    with LoopbackProcess(faults=(Fault("empty_length", Match(model="trunc"), times=None),), solve=0.0) as server:
        config = config_of(tmp_path, server.base_url)
        config["engine"] = {"max_error_rate": 1.0}
        write_run(tmp_path, config, 3)
        said = finish(tmp_path, code=1)
    assert "Warning: the role 'truncation' answered none of 3 calls" in said
    assert summary(tmp_path)["totals"]["emitted"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no questions, so there is nothing to do (dataset.input_path)"),
        ("\n \n", "holds no questions, so there is nothing to do (dataset.input_path)"),
        (
            '{"problem": "x", "answer": "1"}\n' * 120,
            (
                "none of the first 100 rows has a field 'question' (there are: problem, answer); name the right one "
                "(dataset.columns.question)"
            ),
        ),
        ('{"question": "x", "solution": "1"}\n' * 2 + "no JSON\n", "name the right one (dataset.columns.answer)"),
    ],
)
def test_an_input_without_questions_is_refused(tmp_path: Path, content: str, says: str) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    (tmp_path / "in.jsonl").write_text(content)
    assert says in finish(tmp_path, code=2)
    assert not (tmp_path / "work" / "manifest.json").exists(), "so that a corrected input starts at once"


def trace(steps: int = 2, *marks: str) -> Candidate:
    return Candidate(
        m_strong="m",
        sample=0,
        step_reasoning="",
        step_list=("## Step",) * steps,
        normal="n",
        normal_is_own=True,
        marks=marks,
    )


@pytest.mark.parametrize(
    ("candidates", "bits", "verdicts", "says"),
    [
        ([trace(), trace(0)], (1, 0), {"rule": 9, "rule_unsure": 1}, []),
        ([trace(0), trace(0)], (), {}, ["2 of 2 traces have no steps"]),
        ([trace(), trace()], (0, None), {"rule": 1}, ["none of 2 bits is 1"]),
        ([trace(2, "unfaithful")], (1,), {}, ["1 of 1 traces end with another answer"]),
        ([trace()], (1,), {"rule_unsure": 8, "llm_unclear": 2}, ["10 of 10 verdicts are unsure"]),
        ([], (), {}, []),
    ],
)
def test_suspicious_shares_are_warned_of(
    candidates: list[Candidate], bits: tuple[int | None, ...], verdicts: dict[str, int], says: list[str]
) -> None:
    shares, question = Shares(), Question(row=1, id=None, text="Why?", answer="42")
    scores = tuple(Score(score=0.0, s_list=bits) for _ in candidates)
    shares.note(Traced(question=question, candidates=tuple(candidates)))
    shares.note(Scored(question=question, candidates=tuple(candidates), scores=scores))
    found = warnings(shares, Counter(verdicts), masked=True)
    assert len(found) == len(says)
    assert all(text.startswith(start) for text, start in zip(found, says, strict=True))
