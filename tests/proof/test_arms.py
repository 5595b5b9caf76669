"""Each arm takes the trace that its name says, of the same questions, cut alike, in the layout of the training data."""

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import finish, lines, run_in
from tests.finished_run import FinishedRun
from tests.loopback import LoopbackProcess
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.arms import ArmRow, arm_overlap, arm_rows, recut

FREE = ("winners", "random", "first", "shortest", "longest")


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, server: LoopbackProcess) -> Path:
    """A run of four traces a question that kept two of them, all cut by the rule."""
    folder = tmp_path_factory.mktemp("ruled")
    run_in(folder, server.base_url, 12, truncation="rule", samples_per_model=2, keep=2, scoring="exhaustive")
    finish(folder)
    return folder


def rows(folder: Path, arm: str, seed: int = 1) -> list[ArmRow]:
    return list(arm_rows(WorkDir(folder / "work"), arm, seed))


def candidates(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """The scored candidates of each row, in order."""
    found = defaultdict(list)
    for line in lines(folder / "work" / "scored_candidates.jsonl"):
        found[line["row"]].append(line)
    return found


def words(folder: Path, row: ArmRow) -> tuple[int, list[int]]:
    """The words of the trace that was taken, and of all that could be."""
    those = candidates(folder)[row.row]
    counts = [len(line["normal"].split()) for line in those]
    at = [(line["m_strong"], line["sample"]) for line in those].index((row.m_strong, row.sample))
    return counts[at], counts


def test_every_arm_has_the_same_questions_each_once_in_input_order(ruled: Path) -> None:
    winners = [(row.row, row.prompt) for row in rows(ruled, "winners")]
    assert len(winners) == len({line["prompt"] for line in lines(ruled / "out.jsonl")}) > 4
    assert winners == sorted(winners)
    for arm in FREE:
        assert [(row.row, row.prompt) for row in rows(ruled, arm)] == winners


def test_winners_of_a_run_that_cut_by_the_rule_are_its_own_training_data(ruled: Path) -> None:
    first_of_each = {line["prompt"]: line["response"] for line in reversed(lines(ruled / "out.jsonl"))}
    assert {row.prompt: row.response for row in rows(ruled, "winners")} == first_of_each


def test_emitted_is_the_training_data_as_it_is_with_all_traces_that_were_kept(
    ruled: Path, finished: FinishedRun
) -> None:
    for folder in (ruled, finished.folder):
        emitted = [{"prompt": row.prompt, "response": row.response} for row in rows(folder, "emitted")]
        assert emitted == lines(folder / "out.jsonl")
    assert len(rows(ruled, "emitted")) > len(rows(ruled, "winners"))


def test_winners_that_a_model_has_cut_are_cut_by_the_rule_as_all_arms_are(finished: FinishedRun) -> None:
    by_row = {line["row"]: line for line in finished.selected}
    winners = rows(finished.folder, "winners")
    assert recut(WorkDir(finished.work)) == sum(line["cut_by"] == "anchor" for line in by_row.values()) > 0
    assert {row.cut_by for row in winners} <= {"rule", "whole"}
    for row in winners:
        assert (row.m_strong, row.sample) == (by_row[row.row]["m_strong"], by_row[row.row]["sample"])
        inside, answer = row.response.removeprefix("<think> ").split(" </think> ")
        assert by_row[row.row]["chosen_normal"].startswith(inside)
        assert answer == by_row[row.row]["answer"]


def test_first_shortest_and_longest_take_what_they_say(ruled: Path) -> None:
    for row in rows(ruled, "first"):
        first = candidates(ruled)[row.row][0]
        assert (row.m_strong, row.sample) == (first["m_strong"], first["sample"])
    for arm, extreme in (("shortest", min), ("longest", max)):
        measured = [words(ruled, row) for row in rows(ruled, arm)]
        assert all(taken == extreme(all_of) for taken, all_of in measured)
        assert any(len(set(all_of)) > 1 for _, all_of in measured)


def test_random_draws_the_same_by_one_seed_and_others_by_another(ruled: Path) -> None:
    drawn = {seed: [(row.m_strong, row.sample) for row in rows(ruled, "random", seed)] for seed in (1, 2, 3)}
    assert drawn[1] == [(row.m_strong, row.sample) for row in rows(ruled, "random", 1)]
    assert len({tuple(taken) for taken in drawn.values()}) == 3
    assert len({one for taken in drawn.values() for one in taken}) == 4


def test_overlap_is_the_share_of_questions_with_the_same_text(ruled: Path) -> None:
    work = WorkDir(ruled / "work")
    first, longest = rows(ruled, "first"), rows(ruled, "longest")
    same = sum(a.response == b.response for a, b in zip(first, longest, strict=True))
    assert arm_overlap(work, "first", "longest", 1) == same / len(first)
    assert arm_overlap(work, "winners", "winners", 1) == 1.0


def compared(folder: Path, **choices: dict[int, tuple[int, ...]]) -> WorkDir:
    """The run, as a comparison has left it in which scorers put the candidates of rows in these orders."""
    rows = sorted({row for by_row in choices.values() for row in by_row})
    questions = [
        {
            "row": row,
            "choices": {
                name: [{"winner": by_row[row].index(0), "order": by_row[row]}, {"winner": 3, "order": [1, 1, 1, 0]}]
                for name, by_row in choices.items()
            },
        }
        for row in rows
    ]
    copy = folder.with_name("compared")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "work", copy)
    (copy / "compare").mkdir()
    (copy / "compare" / "compare.json").write_text(json.dumps({"draws": 2, "questions": questions}))
    return WorkDir(copy)


def test_an_arm_of_a_scorer_that_asks_takes_what_a_comparison_found_it_to_choose(ruled: Path) -> None:
    wanted = [row.row for row in rows(ruled, "winners")]
    work = compared(ruled, likelihood=dict.fromkeys(wanted, (1, 0, 2, 0)))
    taken = list(arm_rows(work, "likelihood", 1))
    assert [row.row for row in taken] == wanted
    for row in taken:
        second = candidates(ruled)[row.row][1]
        assert (row.m_strong, row.sample) == (second["m_strong"], second["sample"])


def test_an_arm_that_lacks_scores_says_of_how_many_and_which_command_makes_them(ruled: Path) -> None:
    wanted = [row.row for row in rows(ruled, "winners")]
    with pytest.raises(ConfigError, match=rf"no scores by likelihood of {len(wanted)} of {len(wanted)} questions"):
        rows(ruled, "likelihood")
    work = compared(ruled, grape=dict.fromkeys(wanted[1:], (0, 1, 2, 3)))
    with pytest.raises(ConfigError, match=r"of 1 of \d+ questions; make them: weak2wise compare .* --scorers grape"):
        arm_rows(work, "grape", 1)
    with pytest.raises(ConfigError, match="no scores by rsr"):
        arm_rows(work, "rsr", 1)


def test_a_comparison_that_cannot_be_read_is_named(ruled: Path) -> None:
    work = compared(ruled, grape={})
    (work.folder / "compare" / "compare.json").write_text('{"questions": [')
    with pytest.raises(ConfigError, match=r"compare\.json: cannot be read"):
        arm_rows(work, "grape", 1)


def test_the_arm_of_the_runs_own_scorer_is_its_winners(ruled: Path) -> None:
    assert rows(ruled, "stepmask") == rows(ruled, "winners")


def test_an_unknown_arm_is_refused_with_the_nearest_name(ruled: Path) -> None:
    with pytest.raises(ConfigError, match=r"--arm shortets: no such arm; did you mean shortest\?"):
        rows(ruled, "shortets")
