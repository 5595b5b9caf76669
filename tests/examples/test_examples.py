"""Every file in examples/ does what it says, against the loopback server."""

import ast
import inspect
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import weak2wise
from tests.api.runs import config_at, questions
from tests.engine_runs import ROOT, config_for, finish, lines, save, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess, make_question, serve

EXAMPLES = ROOT / "examples"


def test_the_table_names_every_example() -> None:
    table = (EXAMPLES / "README.md").read_text()
    named = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith("__")} - {"README.md"}
    assert len(named) == 4
    assert {name for name in named if f"]({name}" in table} == named


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_notebook_compares_two_values_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code cells, in order, as a notebook runs them: ``await`` at the top level, one namespace."""
    notebook = json.loads((EXAMPLES / "n_mask.ipynb").read_text())
    assert (notebook["nbformat"], {"code", "markdown"}) == (4, {cell["cell_type"] for cell in notebook["cells"]})
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("W2W_EXAMPLE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("W2W_EXAMPLE_RUNS", str(tmp_path / "runs"))
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url)
        del config["dataset"]["finetune_out"]
        write_run(tmp_path, config, 12)
        names: dict[str, Any] = {}
        for number, cell in enumerate(cells):
            code = compile(cell, f"cell {number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, names)
            if inspect.isawaitable(result):
                await result
    assert 0 < len(names["common"]) <= 12
    assert len(names["few_scores"]) == len(names["many_scores"]) == len(names["both"])
    assert set(names["few_scores"].columns) >= {"row", "m_strong", "sample", "score"}
    assert (tmp_path / "runs" / "n_mask.png").read_bytes().startswith(b"\x89PNG")
    shared = weak2wise.open_run(tmp_path / "runs" / "many").summary.this_start
    assert shared is not None
    assert {use.endpoint for use in shared.endpoints if use.sent} == {"weak", "trunc"}, "traces are not paid twice"


async def test_the_scorer_prefers_short_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    params = weak2wise.Params(
        skip_filter=True, judge_mode="rule", scorer="short_steps:ShortSteps", samples_per_model=3, n_mask=2
    )
    async with serve() as server:
        config = config_at(server.base_url, params=params)
        run = await weak2wise.asynthesize(questions(4), config, work_dir=tmp_path / "work")
    assert run.totals.emitted == 4
    scored = list(run.scores())
    for one in scored:
        for candidate, score in zip(one.candidates, one.scores, strict=True):
            assert score.evidence == {"longest": max(len(step) for step in candidate.step_list)}
            assert score.score == 1 / score.evidence["longest"]


async def test_the_endpoint_answers_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is not in it fails, and the others go on; a file that is none stops the run."""
    monkeypatch.syspath_prepend(EXAMPLES)
    asked, answers = questions(3), tmp_path / "answers.jsonl"
    text = "## Add\nWe add the numbers.\n## Final Answer\n\\boxed{{{}}}"
    answers.write_text(
        "".join(
            json.dumps({"question": q["question"], "sample": 0, "text": text.format(q["answer"])}) + "\n"
            for q in asked[:2]
        )
    )
    settings = {"type": "recorded:Recorded", "model_id": "mine", "file": str(answers)}
    async with serve() as server:
        config = config_at(
            server.base_url,
            endpoints={"weak": config_at(server.base_url).endpoints["weak"], "strong-a": settings},
            params=weak2wise.Params(skip_filter=True, judge_mode="rule", samples_per_model=1, n_mask=2),
        )
        run = await weak2wise.asynthesize(asked, config, work_dir=tmp_path / "work")
        assert [one.row for one in run.failed()] == [3]
        assert {one.candidates[0].step_reasoning for one in run.candidates()} == {
            text.format(q["answer"]) for q in asked[:2]
        }
        answers.write_text('{"question": "?"}\n')
        with pytest.raises(weak2wise.ConfigError, match=r"answers\.jsonl: cannot be read as recorded answers"):
            await weak2wise.asynthesize(asked, config, work_dir=tmp_path / "other")


@pytest.mark.slow
def test_gr_1k_gives_as_many_of_each_subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's own steps and config; the models are the loopback server's, and there are fewer questions."""
    for number, (subject, count) in enumerate({"math": 30, "science": 14}.items()):
        pairs = [make_question(100 * number + at) for at in range(count)]
        (tmp_path / f"{subject}.jsonl").write_text(
            "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in pairs)
        )
    mix = [sys.executable, str(EXAMPLES / "gr-1k" / "mix.py"), "math=math.jsonl", "science=science.jsonl"]
    subprocess.run(mix, cwd=tmp_path, check=True)
    rows = lines(tmp_path / "data" / "questions.jsonl")
    assert [row["id"] for row in rows[:3]] == ["math-1", "science-1", "math-2"]
    assert Counter(row["subject"] for row in rows) == {"math": 30, "science": 14}
    broken = subprocess.run([*mix[:2], "math"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (broken.returncode, "expected SUBJECT=FILE" in broken.stderr) == (2, True)

    monkeypatch.setenv("DEEPSEEK_API_KEY", "a")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "b")
    recipe = weak2wise.load_config(EXAMPLES / "gr-1k" / "config.yaml")
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=recipe.params.n_mask)
        config["params"]["samples_per_model"] = recipe.params.samples_per_model
        config["dataset"] = {
            "input_path": str(tmp_path / str(recipe.dataset.input_path)),
            "work_dir": str(tmp_path / "work"),
        }
        save(tmp_path, config)
        finish(tmp_path)
    readme = (EXAMPLES / "gr-1k" / "README.md").read_text()
    assert "weak2wise export runs/gr-1k --out gr-1k --top 1000 --balance-by subject" in readme
    # As the recipe's last line, but of what is there: eight, four of each.
    export = ("export", tmp_path / "work", "--out", tmp_path / "gr-1k", "--top", 8, "--balance-by", "subject")
    assert command(*export) == 0
    subjects = {(row["question"]): row["subject"] for row in rows}
    found = Counter(
        next(subject for question, subject in subjects.items() if question in json.dumps(row, ensure_ascii=False))
        for row in lines(tmp_path / "gr-1k" / "train.jsonl")
    )
    assert found == {"math": 4, "science": 4}
