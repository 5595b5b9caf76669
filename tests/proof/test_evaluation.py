"""Evaluations of an endpoint over real HTTP: the figures, what is asked, what is kept, what it costs."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

import weak2wise
from tests.api.runs import config_at, endpoint, questions
from tests.loopback import Fault, LoopbackServer, Match, serve
from tests.proof.held_out import VARIED, answers, received, write_questions, write_rows
from weak2wise import ConfigError, EvaluateSettings, RunStopped, aevaluate
from weak2wise.config import Dataset, EngineOptions, Models, Params, Prices
from weak2wise.proof.evaluated import Evaluated, clusters_of
from weak2wise.run.repair import repair
from weak2wise.run.side_costs import side_costs_usd
from weak2wise.statistics import proportion

SETTINGS = EvaluateSettings(samples=3, prompt=VARIED)


async def test_the_figures_are_those_of_the_answers_given(tmp_path: Path) -> None:
    """Each sample is right if its box holds the sum; the verdicts, the shares and the lengths follow."""
    held_out = write_questions(tmp_path / "held.jsonl", 40)
    async with serve() as server:
        found = await aevaluate("weak", held_out, config_at(server.base_url), work_dir=tmp_path, settings=SETTINGS)
        assert received(server) == 120
    lines = answers(found.folder)
    right = [[f"\\boxed{{{line['question']['answer']}}}" in s["text"] for s in line["samples"]] for line in lines]
    assert [one.strict for one in found.questions] == right
    assert [one.flexible for one in found.questions] == right
    assert {len(set(verdicts)) for verdicts in right} == {1, 2}, "samples of a question must differ now and then"
    assert found.flexible == proportion([[float(verdict) for verdict in one] for one in right])
    assert clusters_of(found.questions, "strict") == right
    lengths = [s["tokens"] for line in lines for s in line["samples"]]
    assert found.tokens is not None
    assert found.tokens.value == pytest.approx(sum(lengths) / 120)
    assert (found.unfinished.value, found.unsure.value, found.failed) == (0, 0, 0)
    assert found.deciders == {"rule": 120}
    assert found.tokens_per_second > 0
    kept = msgspec.json.decode((Path(found.folder) / "evaluated.json").read_bytes(), type=Evaluated)
    assert kept == found


async def test_an_evaluation_that_has_ended_is_read_and_nothing_is_asked(tmp_path: Path) -> None:
    """Not even the server is needed."""
    held_out = write_questions(tmp_path / "held.jsonl", 10)
    async with serve() as server:
        config = config_at(server.base_url)
        first = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
    again = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
    assert again == first


async def test_more_questions_later_are_asked_alone(tmp_path: Path) -> None:
    held_out = write_questions(tmp_path / "held.jsonl", 20)
    async with serve() as server:
        config = config_at(server.base_url)
        few = structs.replace(SETTINGS, limit=8)
        first = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=few)
        assert (received(server), len(first.questions)) == (24, 8)
        whole = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
        assert (received(server), len(whole.questions)) == (60, 20)
        back = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=few)
        assert received(server) == 60
    assert first.folder == whole.folder == back.folder
    assert back.questions == whole.questions[:8] == first.questions


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": 2},
        {"temperature": 0.9},
        {"prompt": "Again:\n## Hint\n{question}"},
        {"seed": 1},
        {"max_new_tokens": 100},
    ],
)
async def test_another_way_of_asking_is_another_evaluation(tmp_path: Path, changed: dict[str, object]) -> None:
    held_out = write_questions(tmp_path / "held.jsonl", 4)
    async with serve() as server:
        config = config_at(server.base_url)
        first = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
        settings = EvaluateSettings(**structs.asdict(SETTINGS) | changed)
        other = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=settings)
    assert first.folder != other.folder
    assert all(line["samples"] for folder in (first.folder, other.folder) for line in answers(folder))


async def test_other_questions_or_another_judge_make_another_evaluation(tmp_path: Path) -> None:
    held_out, others = write_questions(tmp_path / "a.jsonl", 4), write_questions(tmp_path / "b.jsonl", 5)
    async with serve() as server:
        config = config_at(server.base_url)
        judged = _judged(server, "cascade")
        ways = [(held_out, config), (others, config), (held_out, judged)]
        folders = [(await aevaluate("weak", file, way, work_dir=tmp_path)).folder for file, way in ways]
    assert len(set(folders)) == 3


def _judged(server: LoopbackServer, mode: str) -> weak2wise.Config:
    names = ("weak", "strong-a", "judge")
    return config_at(
        server.base_url,
        models=Models(mweak="weak", mstrong=("strong-a",), judge="judge"),
        endpoints={name: endpoint(server.base_url, name) for name in names},
        params=Params(samples_per_model=1, n_mask=2, judge_mode=mode),  # type: ignore[arg-type]
    )


async def test_a_judge_of_the_config_is_asked_as_in_a_run(tmp_path: Path) -> None:
    """By mode llm each time; never for the strict reading."""
    held_out = write_questions(tmp_path / "held.jsonl", 6)
    async with serve() as server:
        found = await aevaluate("weak", held_out, _judged(server, "llm"), work_dir=tmp_path, settings=SETTINGS)
        assert server.stats.models["judge"].received > 0
    assert set(found.deciders) == {"llm"}
    assert [one.strict for one in found.questions] == [one.flexible for one in found.questions]


async def test_questions_of_the_training_input_are_left_out_and_similar_ones_are_named(tmp_path: Path) -> None:
    """The same words, however they are written; a question that shares only a long run of words is asked."""
    long = "A farmer has a field with many rows of corn and each row holds exactly as many plants as there are"
    train = [*questions(3, 1000), {"question": f"{long} days in June. How many?", "answer": "30"}]
    write_rows(tmp_path / "train.jsonl", train)
    same = {"question": questions(1, 1001)[0]["question"].upper() + " ", "answer": "1"}
    similar = {"question": f"{long} days in May. How many?", "answer": "31"}
    held_out = write_rows(tmp_path / "held.jsonl", [*questions(2, 2000), same, similar])
    async with serve() as server:
        config = config_at(server.base_url, dataset=Dataset(input_path=str(tmp_path / "train.jsonl")))
        found = await aevaluate("weak", held_out, config, work_dir=tmp_path)
        assert received(server) == 12
    assert (found.left_out, found.similar) == ([3], [4])
    assert [one.row for one in found.questions] == [1, 2, 4]
    assert found.training_input == str(tmp_path / "train.jsonl")


async def test_nothing_is_held_out_if_all_questions_were_trained_on(tmp_path: Path) -> None:
    train = write_questions(tmp_path / "train.jsonl", 3)
    config = config_at("http://127.0.0.1:9", dataset=Dataset(input_path=str(train)))
    with pytest.raises(ConfigError, match="all 3 questions are in the training input"):
        await aevaluate("weak", train, config, work_dir=tmp_path / "work")


async def test_a_question_that_cannot_be_asked_is_in_no_figure_and_is_tried_again(tmp_path: Path) -> None:
    held_out = write_rows(tmp_path / "held.jsonl", [*questions(3, 1000), {"question": "No answer?"}])
    refusal = Fault(match=Match(model="weak", nth=1), fault="400_context")
    async with serve(faults=(refusal,)) as server:
        config = config_at(server.base_url)
        found = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
        assert (found.failed, len(found.questions)) == (2, 2)
        failed = [json.loads(line) for line in (Path(found.folder) / "failed.jsonl").read_text().splitlines()]
        assert [line["kind"] for line in failed] == ["context_overflow", "bad_field"]
        again = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
        assert (again.failed, len(again.questions)) == (1, 3)
        assert received(server) == 10, "the answers of the failed question that had arrived are not asked again"


async def test_without_one_answer_there_is_no_figure(tmp_path: Path) -> None:
    held_out = write_questions(tmp_path / "held.jsonl", 2)
    refusal = Fault(match=Match(model="weak"), fault="400_context", times=100)
    async with serve(faults=(refusal,)) as server:
        with pytest.raises(RunStopped, match="not one question"):
            await aevaluate("weak", held_out, config_at(server.base_url), work_dir=tmp_path)


@pytest.mark.slow
async def test_what_an_evaluation_costs_counts_under_the_cap_of_the_work_dir(tmp_path: Path) -> None:
    """For later runs there, and for later evaluations, also after a start that was stopped by it."""
    held_out = write_questions(tmp_path / "held.jsonl", 12)
    async with serve() as server:
        shared = {"prices": Prices(input=1000.0, output=1000.0), "max_tokens": 100, "max_concurrent_requests": 2}
        config = config_at(server.base_url, shared=shared, engine=EngineOptions(max_cost_usd=1.0))
        with pytest.raises(RunStopped, match="max_cost_usd"):
            await aevaluate("weak", held_out, config, work_dir=tmp_path / "work", settings=SETTINGS)
        spent, asked = side_costs_usd(tmp_path / "work"), received(server)
        assert 0.3 < spent <= 1.0
        with pytest.raises(RunStopped, match="max_cost_usd"):
            await aevaluate("weak", held_out, config, work_dir=tmp_path / "work", settings=SETTINGS)
        assert (received(server), side_costs_usd(tmp_path / "work")) == (asked, spent)
        more = structs.replace(config, engine=EngineOptions(max_cost_usd=100.0))
        found = await aevaluate("weak", held_out, more, work_dir=tmp_path / "work", settings=SETTINGS)
        assert (received(server), len(found.questions)) == (36, 12)


def test_the_same_from_a_program_without_an_event_loop(tmp_path: Path) -> None:
    held_out = write_questions(tmp_path / "held.jsonl", 4)
    config = config_at("http://127.0.0.1:9")
    assert weak2wise.evaluate.__doc__
    with pytest.raises(ConfigError, match="no folder with a model"):
        weak2wise.evaluate("nothing", held_out, config, work_dir=tmp_path / "work")
    assert not (tmp_path / "work").exists(), "what cannot begin leaves nothing"


async def test_a_damaged_line_is_refused_and_repair_makes_it_whole_for_nothing(tmp_path: Path) -> None:
    """A verdict is made again of the answers in the journal; of those, at most the damaged one is asked for again."""
    held_out = write_questions(tmp_path / "held.jsonl", 10)
    async with serve() as server:
        config = config_at(server.base_url)
        first = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
        for ledger, again in (("evaluate", 0), ("journal", 0)):
            (shard,) = Path(first.folder).glob(f"ledger/{ledger}/*.jsonl")
            content = bytearray(shard.read_bytes())
            content[len(content) // 2] ^= 1
            shard.write_bytes(content)
            for index in Path(first.folder).glob("ledger/*.index"):
                shutil.rmtree(index)
            with pytest.raises(ConfigError, match=f"ledger/{ledger}/.* is damaged"):
                await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
            repaired = repair(Path(first.folder))
            assert repaired is not None
            assert (repaired.damaged.total(), repaired.again.total()) == (1, again)
            whole = await aevaluate("weak", held_out, config, work_dir=tmp_path, settings=SETTINGS)
            assert structs.replace(whole, seconds=0, tokens_per_second=0) == structs.replace(
                first, seconds=0, tokens_per_second=0
            )
        assert received(server) == 30


async def test_a_folder_of_an_evaluation_is_not_taken_for_a_run(tmp_path: Path) -> None:
    held_out = write_questions(tmp_path / "held.jsonl", 3)
    async with serve() as server:
        found = await aevaluate("weak", held_out, config_at(server.base_url), work_dir=tmp_path)
    with pytest.raises(ConfigError, match="holds no run"):
        weak2wise.open_run(found.folder)


async def test_an_evaluation_keeps_the_rules_it_was_begun_with(tmp_path: Path) -> None:
    held_out = write_questions(tmp_path / "held.jsonl", 3)
    async with serve() as server:
        config = config_at(server.base_url)
        found = await aevaluate("weak", held_out, config, work_dir=tmp_path)
        begun = Path(found.folder) / "evaluation.json"
        begun.write_text(begun.read_text().replace('"rules": 2', '"rules": 3'))
        with pytest.raises(ConfigError, match="begun with rules 3"):
            await aevaluate("weak", held_out, config, work_dir=tmp_path)
