"""Questions handed over as objects or as a path, and what the same or another call then does."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

import weak2wise
from tests.api.runs import asked, config_at, questions
from tests.engine_runs import lines
from tests.loopback import LoopbackProcess, LoopbackServer, serve

NO_FILTER = weak2wise.Params(n_mask=2, judge_mode="rule", skip_filter=True, samples_per_model=1)


def as_path(rows: list[dict[str, Any]], folder: Path) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


KINDS: dict[str, Callable[[list[dict[str, Any]], Path], Any]] = {
    "path": as_path,
    "text": lambda rows, folder: str(as_path(rows, folder)),
    "list": lambda rows, _: rows,
    "generator": lambda rows, _: (row for row in rows),
    "pandas": lambda rows, _: pd.DataFrame(rows),
    "datasets": lambda rows, _: datasets.Dataset.from_list(rows),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_questions_of_any_kind_give_the_same_results(kind: str, tmp_path: Path, server: LoopbackProcess) -> None:
    rows = questions(2)
    config = config_at(server.base_url, params=NO_FILTER)
    run = weak2wise.synthesize(KINDS[kind](rows, tmp_path), config, work_dir=tmp_path / "work")
    assert [(g.row, g.id, g.question.text, g.question.answer) for g in run.golden()] == [
        (number, row["id"], row["question"], row["answer"]) for number, row in enumerate(rows, 1)
    ]
    kept = tmp_path / "work" / "questions.jsonl"
    assert kept.exists() == (kind not in ("path", "text"))
    assert not kept.exists() or lines(kept) == rows


def test_a_long_data_frame_and_numbers_of_numpy_are_kept_as_plain_json(tmp_path: Path, server: LoopbackProcess) -> None:
    """Other columns are kept, too; ``dataset.columns`` says which ones are meant, and 0 questions are asked here."""
    frame = pd.DataFrame({"id": np.arange(2500), "problem": "What is 1 + 1?", "solution": np.float32(2), 7: pd.NaT})
    columns = weak2wise.Columns(question="problem", answer="solution")
    config = config_at(server.base_url, dataset=weak2wise.Dataset(columns=columns), params=NO_FILTER)
    run = weak2wise.synthesize(frame, config, work_dir=tmp_path, limit=1)
    kept = lines(tmp_path / "questions.jsonl")
    assert [row["id"] for row in kept] == list(range(2500))
    assert kept[0] == {"id": 0, "problem": "What is 1 + 1?", "solution": 2.0, "7": "NaT"}
    assert [(golden.question.text, golden.question.answer) for golden in run.golden()] == [("What is 1 + 1?", "2.0")]
    scalars = [{"id": np.int64(3), "problem": np.str_("What is 1 + 1?"), "solution": np.int32(2)}]
    run = weak2wise.synthesize(scalars, config, work_dir=tmp_path / "scalars")
    assert [(golden.id, golden.question.answer) for golden in run.golden()] == [("3", "2")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (7, "questions: expected a path, mappings, a DataFrame or a Dataset, found a int"),
        ({"question": "?", "answer": "!"}, "questions: expected a path, mappings, a DataFrame or a Dataset, found a d"),
        (["What?"], "questions: number 1 is a str; expected a mapping of columns"),
        ([*questions(1), {"question": "?", "answer": "\ud800"}], "questions: number 2 cannot be written as JSON"),
        (Path("nowhere.jsonl"), "nowhere.jsonl: no such file (dataset.input_path)"),
        (None, "dataset.input_path: missing"),
    ],
)
def test_what_is_no_questions_is_refused_before_anything_is_asked(
    given: Any, says: str, tmp_path: Path, server: LoopbackProcess
) -> None:
    before = asked(server)
    with pytest.raises(weak2wise.ConfigError) as caught:
        weak2wise.synthesize(given, config_at(server.base_url), work_dir=tmp_path / "work")
    assert str(caught.value).startswith(says)
    assert asked(server) == before
    assert not list(tmp_path.rglob("*questions*"))


def test_an_error_of_the_caller_s_generator_is_the_caller_s(tmp_path: Path, server: LoopbackProcess) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from questions(1)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        weak2wise.synthesize(broken(), config_at(server.base_url), work_dir=tmp_path)
    assert not list(tmp_path.rglob("*questions*"))


async def test_the_same_objects_go_on_and_ask_nothing_again(tmp_path: Path) -> None:
    async with serve() as server:
        config = config_at(server.base_url, params=NO_FILTER)
        first = await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path, limit=1)
        assert (first.totals.rows, first.totals.emitted) == (1, 1)
        await weak2wise.asynthesize(iter(questions(3)), config, work_dir=tmp_path)
        before = asked(server)
        again = await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path)
        assert asked(server) == before
    assert (again.totals.rows, again.totals.emitted) == (3, 3)
    assert [count.asked for count in before.values()] == [1] * len(before)


async def begun(server: LoopbackServer, work_dir: Path) -> weak2wise.Config:
    """A finished run over two questions."""
    config = config_at(server.base_url, params=NO_FILTER)
    await weak2wise.asynthesize(questions(2), config, work_dir=work_dir)
    return config


@pytest.mark.slow
async def test_other_questions_are_refused_with_the_ways_out(tmp_path: Path) -> None:
    async with serve() as server:
        config = await begun(server, tmp_path)
        for more, ways in (
            (questions(2, 5), "or pass resume='never'"),
            (questions(3), "pass resume='force' (go on)"),
        ):
            with pytest.raises(weak2wise.ConfigError, match="was started with other questions") as caught:
                await weak2wise.asynthesize(more, config, work_dir=tmp_path)
            assert ways in str(caught.value)
        with pytest.raises(weak2wise.ConfigError, match="was started with other questions"):
            await weak2wise.asynthesize(questions(2, 5), config, work_dir=tmp_path, resume="force")
    assert lines(tmp_path / "questions.jsonl") == questions(2)


async def test_with_force_more_of_them_are_gone_on_with(tmp_path: Path) -> None:
    async with serve() as server:
        config = await begun(server, tmp_path)
        run = await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path, resume="force")
        assert {count.asked for count in asked(server).values()} == {1}
    assert [golden.id for golden in run.golden()] == ["q0", "q1", "q2"]


async def test_with_never_a_run_starts_anew_with_others(tmp_path: Path) -> None:
    async with serve() as server:
        config = await begun(server, tmp_path)
        run = await weak2wise.asynthesize(questions(1, 9), config, work_dir=tmp_path, resume="never")
    assert [golden.id for golden in run.golden()] == ["q9"]
    assert len(list(tmp_path.glob("ledger.before-*"))) == 1


async def test_changed_settings_are_refused_and_named(tmp_path: Path) -> None:
    async with serve() as server:
        config = await begun(server, tmp_path)
        other = config_at(server.base_url, params=weak2wise.Params(n_mask=3, judge_mode="rule", skip_filter=True))
        with pytest.raises(weak2wise.ConfigError, match=r"Changed since: params\.n_mask"):
            await weak2wise.asynthesize(questions(2), other, work_dir=tmp_path)
        assert config.params.n_mask == 2


async def test_the_training_data_goes_where_the_config_says_or_into_the_work_dir(tmp_path: Path) -> None:
    async with serve() as server:
        placed = weak2wise.Dataset(finetune_out=str(tmp_path / "out.jsonl"))
        config = config_at(server.base_url, params=NO_FILTER, dataset=placed)
        await weak2wise.asynthesize(questions(1), config, work_dir=tmp_path / "a")
        await weak2wise.asynthesize(questions(1), config_at(server.base_url, params=NO_FILTER), work_dir=tmp_path / "b")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "b" / "finetune.jsonl").read_bytes() != b""
    assert not (tmp_path / "a" / "finetune.jsonl").exists()


@pytest.mark.parametrize(("table", "package"), [("to_pandas", "pandas"), ("to_dataset", "datasets")])
def test_without_the_extra_one_line_says_which(
    table: str, package: str, tmp_path: Path, server: LoopbackProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_at(server.base_url, params=NO_FILTER)
    run = weak2wise.synthesize(questions(1), config, work_dir=tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(weak2wise.ConfigError, match=rf"{table} needs {package}: pip install '\.\[formats\]'") as caught:
        getattr(run, table)("golden")
    assert "\n" not in str(caught.value)
