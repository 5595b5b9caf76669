"""A comparison of scorers on a real run: what it asks, what it never asks again, and what it leaves alone."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import weak2wise
from tests import scoring_endpoint
from tests.api.runs import config_at, questions, tree
from tests.engine_runs import ROOT, finish, run_in, save
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from tests.run.test_scorer_choice import config_for
from tests.scoring_endpoint import Likely, asked
from weak2wise.compare.comparing import Comparing
from weak2wise.errors import ConfigError
from weak2wise.llm.model import Completion, Prompt
from weak2wise.outputs.comparison.facts import Comparison
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.run.side_costs import side_costs_usd

ALL = ("random", "first", "shortest", "longest", "full_hint", "grape", "rsr", "local_naturalness", "ifd", "likelihood")


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often the weak LLM was asked for each attempt: its prompt and seed."""
    found: Counter[tuple[str, int]] = Counter()
    sample = scoring_endpoint.Samples.complete

    async def counted(self: scoring_endpoint.Samples, prompt: Prompt, /) -> Completion:
        if self.name == "weak":
            found[prompt.messages[0].content, prompt.seed] += 1
        return await sample(self, prompt)

    monkeypatch.setattr(scoring_endpoint.Samples, "complete", counted)
    asked.clear()
    Likely.calls_left = None
    return found


async def run_of(folder: Path, count: int = 6, **params: Any) -> tuple[weak2wise.Run, weak2wise.Config]:
    config = config_for("stepmask", **params)
    run = await weak2wise.asynthesize(questions(count), config, work_dir=folder)
    return run, weak2wise.load_config(folder / "config.yaml")


def journal_keys(folder: Path) -> Counter[tuple[int, str]]:
    """Row and key of each answer that a folder's journal has."""
    shards = sorted((folder / "ledger" / "journal").glob("*.jsonl"))
    found = [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]
    return Counter((line["row"], line["key"]) for line in found)


def comparing(folder: Path, config: weak2wise.Config, *scorers: str, **options: Any) -> Comparing:
    return Comparing(WorkDir(folder), config, scorers, **{"draws": 2, "sample": 200} | options)


@pytest.mark.slow
async def test_all_scorers_are_compared_and_a_second_comparison_asks_nothing(
    tmp_path: Path, attempts: Counter[tuple[str, int]]
) -> None:
    run, config = await run_of(tmp_path)
    paid, before = Counter(attempts), tree(tmp_path)
    found = await comparing(tmp_path, config, *ALL).run()
    assert {name: was for name, was in tree(tmp_path).items() if not name.startswith("compare/")} == before
    assert set(attempts.values()) == {1}, "no attempt twice, also none that the run has made"
    assert paid, "the race asked some of them"
    assert set(asked.values()) == {1}, "a text that is asked about does not depend on the seed"
    assert [one.name for one in found.criteria] == ["stepmask", *ALL]
    assert found.compared == found.available == run.totals.emitted
    by_name = {one.name: one for one in found.criteria}
    assert all(by_name[name].again.value == 1 for name in ALL if name not in ("random", "full_hint"))
    assert by_name["stepmask"].regret.value == 0, "two draws: the best that one finds is its own choice"
    assert by_name["stepmask"].regret_at_most.value >= by_name["stepmask"].regret.value
    assert by_name["random"].cost.calls == 0 < by_name["grape"].cost.calls < by_name["stepmask"].cost.calls
    assert by_name["grape"].ones is None
    assert 0 < (by_name["stepmask"].ones or 0) < 1
    for question in found.questions:
        assert all(len(choices) == 2 for choices in question.choices.values())
        assert all(0 not in map(len, choice.bits or ((),)) for choice in question.choices["stepmask"])

    asked_before, texts_before = Counter(attempts), Counter(asked)
    again = await comparing(tmp_path, config, *ALL).run()
    assert attempts == asked_before
    assert asked == texts_before
    assert again.questions == found.questions
    assert [(one.name, one.cost) for one in again.criteria if one.cost.calls] == [
        (one.name, one.cost) for one in found.criteria if one.cost.calls
    ], "the pace is that at which the answers came"


@pytest.mark.slow
async def test_the_first_draw_is_the_runs_own(tmp_path: Path, attempts: Counter[tuple[str, int]]) -> None:
    run, config = await run_of(tmp_path, scoring="exhaustive")
    paid = attempts.total()
    found = await comparing(tmp_path, config, "shortest").run()
    assert attempts.total() < 2 * paid + 10  # the second draw is new, the first was there; hints may be alike
    assert set(attempts.values()) == {1}
    scored = {one.row: one for one in run.scores()}
    for question in found.questions:
        assert question.choices["stepmask"][0].scores == tuple(s.score for s in scored[question.row].scores)
        winner = next(golden.winner for golden in run.golden() if golden.row == question.row)
        assert scored[question.row].candidates[question.choices["stepmask"][0].winner] == winner


@pytest.mark.slow
async def test_a_sample_is_the_same_again_and_smaller_than_the_run(
    tmp_path: Path, attempts: Counter[tuple[str, int]]
) -> None:
    _, config = await run_of(tmp_path, 12)
    first = await comparing(tmp_path, config, "shortest", sample=5).run()
    again = await comparing(tmp_path, config, "shortest", sample=5).run()
    assert [q.row for q in first.questions] == [q.row for q in again.questions]
    assert (first.compared, first.available) == (5, 12)
    assert set(attempts.values()) == {1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_mask": 4}, "params.n_mask"),
        ({"beta": 0.25}, "params.beta"),
        ({"seed": 9}, "params.seed"),
    ],
)
async def test_a_config_with_other_scoring_is_refused_by_name(tmp_path: Path, change: Any, said: str) -> None:
    _, config = await run_of(tmp_path, 3)
    other = msgspec.structs.replace(config, params=msgspec.structs.replace(config.params, **change))
    with pytest.raises(ConfigError, match=said):
        comparing(tmp_path, other, "shortest")


@pytest.mark.slow
async def test_what_cannot_be_compared_is_said_before_anything_is_asked(
    tmp_path: Path, attempts: Counter[tuple[str, int]]
) -> None:
    _, config = await run_of(tmp_path / "work", 3)
    asked_before = attempts.total()
    with pytest.raises(ConfigError, match=r"--scorers: no scorer 'shortes'.*shortest"):
        comparing(tmp_path / "work", config, "shortes")
    with pytest.raises(ConfigError, match="holds no run"):
        WorkDir(tmp_path / "nowhere")
    one = config_at("http://unused", endpoints=config.endpoints, params=config.params)
    one = msgspec.structs.replace(one, params=msgspec.structs.replace(one.params, samples_per_model=1))
    await weak2wise.asynthesize(questions(3), one, work_dir=tmp_path / "one")
    asked_before = attempts.total()
    with pytest.raises(ConfigError, match=r"0 questions have several traces.*samples_per_model"):
        await comparing(tmp_path / "one", weak2wise.load_config(tmp_path / "one/config.yaml"), "shortest").run()
    assert attempts.total() == asked_before
    sampler = config_for("stepmask", weak="Samples")
    await weak2wise.asynthesize(questions(3), sampler, work_dir=tmp_path / "samples")
    with pytest.raises(ConfigError, match=r"--scorers grape: models\.mweak: weak cannot say"):
        comparing(tmp_path / "samples", sampler, "grape")


@pytest.mark.slow
async def test_two_comparisons_of_one_work_dir_do_not_mix(tmp_path: Path) -> None:
    _, config = await run_of(tmp_path, 3)
    both = await asyncio.gather(
        *(comparing(tmp_path, config, "shortest").run() for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in both) == ["Comparison", "ConfigError"]


@pytest.mark.slow
def test_a_comparison_that_is_killed_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    """Over HTTP, with the strong models' keys gone: SIGKILL in the middle, SIGINT in the middle, then to the end."""
    with LoopbackProcess(latency=0.1) as server:
        run_in(tmp_path, server.base_url, 16, samples_per_model=2)
        finish(tmp_path)
        requests = server.requests()
        strong = sum(count.asked for count in requests.values())
        work = tmp_path / "work"
        arguments = ["compare", str(work), "--config", str(tmp_path / "config.yaml"), "--scorers", "shortest,full_hint"]
        code, said = None, ""
        for number in (signal.SIGKILL, signal.SIGINT):
            before = sum(count.asked for count in server.requests().values())
            with subprocess.Popen(
                [sys.executable, "-m", "weak2wise.engine", *arguments],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            ) as process:
                while sum(count.asked for count in server.requests().values()) < before + 25:
                    assert process.poll() is None, process.stderr and process.stderr.read()
                    time.sleep(0.01)
                os.kill(process.pid, number)
                _, said = process.communicate(timeout=60)
                code = process.returncode
        assert code == 130, said
        assert "Go on with: python -m weak2wise.engine compare" in said
        after = server.requests()
        assert command(*arguments) == 0
        found = msgspec.json.decode((work / "compare" / "compare.json").read_bytes(), type=Comparison)
        assert found.compared > 2
        assert sum(count.asked for count in server.requests().values()) > sum(c.asked for c in after.values()) > strong
        # What a SIGKILL interrupts between an answer and its line in the journal has to be asked again: at most what
        # was in flight. Of what the journal has, nothing is asked again.
        keys = journal_keys(work / "compare")
        assert set(keys.values()) == {1}
        assert not keys.keys() & journal_keys(work).keys()
        finished = server.requests()
        assert command(*arguments) == 0
        assert server.requests() == finished


@pytest.mark.slow
def test_what_it_spends_counts_under_the_runs_cap(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = run_in(tmp_path, server.base_url, 6, samples_per_model=2)
        config["model_endpoints"]["weak"]["prices"] = {"input": 1000.0, "output": 1000.0}
        config["model_endpoints"]["weak"]["max_tokens"] = 200
        save(tmp_path, config)
        finish(tmp_path)
        work = tmp_path / "work"
        spent = WorkDir(work).summary()
        usd = sum(role.cost_usd for role in spent.roles)
        config["engine"] = {"max_cost_usd": usd + 3.0}
        save(tmp_path, config)
        said = subprocess.run(
            [sys.executable, "-m", "weak2wise.engine", "compare", str(work), "--config", str(tmp_path / "config.yaml")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 3, said.stderr
        assert "max_cost_usd" in said.stderr
        assert 0 < side_costs_usd(work) <= 3.0
        config["engine"] = {"max_cost_usd": usd + 1000.0}
        save(tmp_path, config)
        assert command("compare", work, "--config", tmp_path / "config.yaml") == 0
        assert side_costs_usd(work) > 3.0
        assert "comparisons" in finish(tmp_path, command="status")


@pytest.mark.slow
def test_the_table_and_the_page_say_what_is_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(run_of(tmp_path, 8))
    assert command("compare", tmp_path, "--scorers", "shortest,grape", "--seeds", "3") == 0
    said = capsys.readouterr().out
    found = msgspec.json.decode((tmp_path / "compare" / "compare.json").read_bytes(), type=Comparison)
    page = (tmp_path / "compare" / "compare.html").read_text()
    assert found.draws == 3
    for one in found.criteria:
        assert f"{one.score.value:.3f} [" in said
        assert f"{one.score.value:.3f} [" in page
        assert one.name in said
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert f"{100 * found.noise.changes.value:.0f}%" in said


@pytest.mark.slow
async def test_a_run_that_starts_over_sets_its_comparison_aside(tmp_path: Path) -> None:
    _, config = await run_of(tmp_path, 3)
    await comparing(tmp_path, config, "shortest").run()
    await weak2wise.asynthesize(questions(3), config_for("stepmask"), work_dir=tmp_path, resume="never")
    assert not (tmp_path / "compare").exists()
    assert len(list(tmp_path.glob("compare.before-*/compare.json"))) == 1


@pytest.mark.slow
async def test_a_damaged_answer_is_named_with_what_to_do(tmp_path: Path) -> None:
    _, config = await run_of(tmp_path, 3)
    await comparing(tmp_path, config, "shortest").run()
    shard = next((tmp_path / "compare" / "ledger" / "journal").glob("*.jsonl"))
    lines = shard.read_text().splitlines(keepends=True)
    shard.write_text(lines[0].replace("boxed", "b0xed") + "".join(lines[1:]))
    index = shard.parent.with_name("journal.index")
    for file in index.iterdir():
        file.unlink()
    with pytest.raises(ConfigError, match=r"journal/00000.jsonl: line 1 is damaged.*move .*compare away"):
        await comparing(tmp_path, config, "shortest").run()


class Wordless(weak2wise.Scorer):
    """Somebody's own scorer, which fails on one question."""

    version = "1"

    async def __call__(self, traced: weak2wise.Traced, /) -> list[weak2wise.Score]:
        if traced.row == 2:
            raise weak2wise.RecordError("bad_prompt", "this one is too hard")
        return [weak2wise.Score(score=float(len(one.normal)), evidence={}) for one in traced.candidates]


@pytest.mark.slow
def test_a_scorer_of_ones_own_is_compared_and_a_question_that_it_fails_on_is_left_out_for_all(
    tmp_path: Path,
) -> None:
    _, config = asyncio.run(run_of(tmp_path, 4))
    own = "tests.compare.test_comparing:Wordless"
    found = asyncio.run(comparing(tmp_path, config, own, "longest").run())
    assert [q.row for q in found.questions] == [1, 3, 4]
    assert found.failed == {"bad_prompt": 1}
    assert [one.name for one in found.criteria] == ["stepmask", own, "longest"]
    assert all(set(question.choices) == {"stepmask", own, "longest"} for question in found.questions)
    assert command("compare", tmp_path, "--scorers", own) == 1, "a question that could not be scored is said"
