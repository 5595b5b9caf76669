"""Questions of an evaluation set stay out of the training data, in disguise too, and nothing else is taken for one."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tests.engine_runs import ROOT, config_for, finish, lines, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from workers.decontaminate import RUN, Overlap, words

DATA = Path(__file__).parent / "data"
LONG, MIXED = DATA / "long.jsonl", DATA / "mixed.jsonl"
"""Questions written for these tests; some of the mixed ones have fewer than 13 words."""
SHARED = ROOT.parent / "shared" / "data"


def questions(path: Path) -> list[str]:
    return [line["question"] for line in lines(path)]


@pytest.fixture(scope="module")
def overlap() -> Overlap:
    return Overlap((path.name, questions(path)) for path in (LONG, MIXED))


@pytest.mark.parametrize("path", [LONG, MIXED])
def test_every_question_of_a_set_is_found_however_it_is_set_in_type(overlap: Overlap, path: Path) -> None:
    for question in questions(path):
        assert overlap.find(question) == path.name
        assert overlap.find(f"  {question.upper()}  ".replace(" ", " \n\t").replace(",", " ;")) == path.name


def test_a_long_question_is_found_inside_another_text_and_by_any_thirteen_words(overlap: Overlap) -> None:
    for question in questions(LONG):
        assert overlap.find(f"Here is a task for you. {question} Think well.") == LONG.name
        found = words(question)
        for at in range(len(found) - RUN + 1):
            assert overlap.find("Well: " + " ".join(found[at : at + RUN])) == LONG.name
        assert overlap.find("Well: " + " ".join(found[: RUN - 1])) is None


def test_a_short_question_is_found_only_as_it_is(overlap: Overlap) -> None:
    short = [question for question in questions(MIXED) if len(words(question)) < RUN]
    assert len(short) >= 3
    for question in short:
        assert overlap.find(question) == MIXED.name
        assert overlap.find(f"{question} And then?") is None


def test_unlike_questions_are_left_alone(overlap: Overlap) -> None:
    for question in ("What is 2 + 2?", "", "?", "Find how many meters downstream the ferry lands."):
        assert overlap.find(question) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no data sets in {SHARED}")
def test_real_evaluation_sets_are_found_whole_and_other_data_sets_are_left_alone() -> None:
    """AIME 2024 and MATH-500 against GSM8K and SVAMP, which share no question with them."""
    sets = {name: questions(SHARED / f"{name}.jsonl") for name in ("aime24", "math500", "gsm8k", "svamp")}
    overlap = Overlap((name, sets[name]) for name in ("aime24", "math500"))
    for name in ("aime24", "math500"):
        assert {overlap.find(question) for question in sets[name]} == {name}
        assert {overlap.find(f"Solve this. {q}") for q in sets[name] if len(words(q)) >= RUN} == {name}
    for name in ("gsm8k", "svamp"):
        assert [question for question in sets[name] if overlap.find(question)] == []


def test_words_know_unicode_variants_and_scripts_without_spaces() -> None:
    assert words("Ｆｕｌｌ  WIDTH, naïve_x²") == ["full", "width", "naïve", "x2"]
    assert words("求和abc数") == ["求", "和", "abc", "数"]
    assert words("+ − ?") == ["+−?"]


@given(st.lists(st.text(max_size=60), max_size=4), st.text(max_size=200), st.text(max_size=80), st.text(max_size=80))
def test_a_known_question_is_always_found_and_a_long_one_in_any_company(
    others: list[str], question: str, before: str, after: str
) -> None:
    overlap = Overlap([("set", [*others, question])])
    assert overlap.find(question) == "set"
    if len(words(question)) >= RUN:
        assert overlap.find(f"{before} {question} {after}") == "set"


@pytest.mark.slow
def test_a_run_drops_them_unpaid_with_the_reason_and_other_sets_are_other_settings(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        write_run(tmp_path, config, 4)
        with (tmp_path / "in.jsonl").open("a") as file:
            for question in (questions(LONG)[2], questions(MIXED)[0], questions(MIXED)[1]):
                file.write(json.dumps({"question": question, "answer": "1"}) + "\n")
        sets = ("--set", f"dataset.decontaminate=[{LONG}, {MIXED}]")
        finish(tmp_path, *sets)
        summary = json.loads((tmp_path / "work" / "summary.json").read_text())
        totals = summary["totals"]
        assert totals["dropped"].pop("contaminated/long.jsonl") == 1
        assert totals["dropped"].pop("contaminated/mixed.jsonl") == 2
        assert totals["rows"] == 7 == 3 + totals["emitted"] + totals["dropped"].get("weak_solves", 0)
        journal = [answer["row"] for shard in tmp_path.glob("work/ledger/journal/*") for answer in lines(shard)]
        assert not {5, 6, 7} & set(journal)
        assert "dataset.decontaminate" in finish(tmp_path, "--set", f"dataset.decontaminate=[{LONG}]", code=2)


@pytest.mark.slow
def test_two_sets_of_one_name_are_told_apart_by_where_they_are(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test.jsonl").write_text(json.dumps({"question": questions(LONG)[number]}) + "\n")
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        config["dataset"]["decontaminate"] = [str(tmp_path / name / "test.jsonl") for name in ("one", "two")]
        write_run(tmp_path, config, 1)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write(json.dumps({"question": questions(LONG)[1], "answer": "1"}) + "\n")
        finish(tmp_path)
    dropped = json.loads((tmp_path / "work" / "summary.json").read_text())["totals"]["dropped"]
    assert dropped[f"contaminated/{tmp_path / 'two' / 'test.jsonl'}"] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("", "holds no questions"),
        ('{"text": "x"}\n', "line 1: expected a question"),
        ("no JSON\n", "line 1: expected"),
    ],
)
def test_a_set_that_cannot_be_read_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, says: str
) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    if content is not None:
        (tmp_path / "set.jsonl").write_text(content)
    sets = f"dataset.decontaminate=[{tmp_path / 'set.jsonl'}]"
    assert command("preview", "--config", tmp_path / "config.yaml", "--set", sets) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.strip().endswith("(dataset.decontaminate)")
    assert len(said.strip().splitlines()) == 1
    assert command("check", "--config", tmp_path / "config.yaml", "--set", sets) == 2
    assert says in capsys.readouterr().out


def test_marks_are_normalised_as_ever_unless_there_are_more_than_any_language_has() -> None:
    ordinary = "Việt \u0061\u0327\u0301 か\u3099 " + "a" + "\u0301\u0327" * 15 + "—" * 40 + "é"
    assert words(ordinary) == re.findall(r"\w+", unicodedata.normalize("NFKC", ordinary).casefold())
    assert words("a" + "\u0301\u0327" * 16)[0] == "á"
