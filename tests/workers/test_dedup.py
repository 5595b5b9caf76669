"""Near-duplicates are dropped before they cost anything, and questions that differ in what decides are kept."""

import json
import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import weak2wise
from tests.api.runs import asked, config_at, questions
from tests.engine_runs import finish, lines, run_in
from tests.finished_run import command
from tests.loopback import LoopbackProcess, serve
from weak2wise.ledger.outcomes import Dropped
from workers.dedup import NearDuplicate, near_duplicates, runs_of
from workers.signs import signs_of, tokens

BASE = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did "
    "Natalia sell altogether in April and May?"
)


def found(*rows: str | tuple[str, str], similarity: float = 0.7) -> dict[int, NearDuplicate]:
    """The near-duplicates among questions, by row from 1; an answer of their own if it is given."""
    pairs = [(row, "72") if isinstance(row, str) else row for row in rows]

    def read() -> Iterator[tuple[int, str, str]]:
        yield from ((number, question, answer) for number, (question, answer) in enumerate(pairs, 1))

    duplicates = near_duplicates(read, similarity)
    result = {number: one for number in range(1, len(pairs) + 2) if (one := duplicates.get(number))}
    assert len(duplicates) == len(result)
    return result


@pytest.mark.parametrize(
    "again",
    [
        BASE,
        BASE.upper(),
        f"  {BASE.replace(' ', '  ')}\n",
        BASE.replace(",", "").replace("?", ""),
        f"Please solve: {BASE}",
        BASE.replace("Natalia", "Natalie", 1),
        BASE.replace("48", "$48$"),
        BASE.replace("clips", "c\u200blips".replace("\u200b", "")),
    ],
)
def test_another_way_to_write_a_question_is_found(again: str) -> None:
    assert found(BASE, again)[2].like == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("48", "47"),
        ("48", "48,000"),
        ("48 of", "-48 of"),
        ("half", "twice"),
        ("half as", "a third as"),
        ("How many", "How many fewer"),
        ("did Natalia sell", "did Natalia not sell"),
        ("altogether", "at most"),
        ("clips to 48 of", "clips at 48 km/h to"),
    ],
)
def test_a_question_that_differs_in_what_decides_is_kept(one: str, other: str) -> None:
    """At a similarity that would take nearly any text for the same."""
    assert one in BASE
    assert not found(BASE, BASE.replace(one, other), similarity=0.01)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A train goes 60 km in 2 hours. What is its speed?", "A train goes 60 miles in 2 hours. What is its speed?"),
        ("It weighs $5\\text{ kg}$ now. How heavy is it?", "It weighs $5\\text{ g}$ now. How heavy is it?"),
        ("Which of these numbers is even?", "Which of these numbers is odd?"),
        ("Simplify $x + 3y$ as far as you can.", "Simplify $x - 3y$ as far as you can."),
        ("Simplify (2 + 3) * 4 as far as you can.", "Simplify 2 + (3 * 4) as far as you can."),
        ("Compute 5! for the class, please.", "Compute 5 for the class, please."),
        ("Find x if x + y = 3 holds for both.", "Find y if x + y = 3 holds for both."),
        ("What is $\\sin(x)$ at this place?", "What is $\\cos(x)$ at this place?"),
        ("Is x < 3 for all such numbers?", "Is x \\leq 3 for all such numbers?"),
        ("Is x < 3 for all such numbers?", "Is x > 3 for all such numbers?"),
        ("Which one is the largest of these?", "Which one is the smallest of these?"),
        ("这些数中最大的是哪一个?", "这些数中最小的是哪一个?"),
        ("It costs 5 € a day. How much for a week?", "It costs 5 £ a day. How much for a week?"),
        ("It rose by 5 % last year, how much now?", "It rose by 5 last year, how much now?"),
        ("How much is one 🍎 today?", "How much is one 🍐 today?"),
        ("There are 5 red and 6 blue ones.", "There are 6 red and 5 blue ones."),
    ],
)
def test_units_symbols_variables_and_opposites_decide(one: str, other: str) -> None:
    assert not found(one, other, similarity=0.01)


def test_another_answer_makes_it_another_question() -> None:
    assert not found((BASE, "72"), (BASE, "71"))
    assert not found((BASE, "72"), (BASE, "-72"))
    assert found((BASE, "72"), (BASE, " 72. "))


def test_a_thousand_problems_of_one_template_with_other_numbers_are_all_kept() -> None:
    rng = random.Random(0)
    pairs = {tuple(rng.sample(range(2, 900), 2)) for _ in range(1000)}
    assert not found(*(f"Tom has {a} apples and buys {b} more. How many has he?" for a, b in pairs), similarity=0.01)


def test_the_first_is_kept_and_later_ones_are_compared_with_those_that_are_kept() -> None:
    near = BASE.replace("Natalia", "Natalie", 1)
    far = near.replace("sold clips to", "gave clips to")
    assert found(BASE, near, similarity=0.9).keys() == {2}
    assert found(near, far, similarity=0.86).keys() == {2}
    assert found(BASE, far, similarity=0.87).keys() == set()
    assert found(BASE, near, far, similarity=0.87).keys() == {2}, "far is not compared with near, which is dropped"
    assert found(near, BASE, far, similarity=0.86).keys() == {2, 3}


def test_similarity_is_the_share_of_common_runs_and_its_least_value_counts_exactly() -> None:
    one, other = "b c d e f g", "b c d e f g h"  # single letters: signs, which have to be the same
    assert signs_of(tokens(one), "") != signs_of(tokens(other), "")
    one, other = "red hat box can pen", "red hat box can pen ink"  # three runs of four
    assert found(one, other, similarity=0.75)[2] == NearDuplicate(1, 0.75)
    assert not found(one, other, similarity=0.7501)


WORDS = st.lists(st.sampled_from(["red", "hat", "box", "can", "pen"]), min_size=1, max_size=9).map(" ".join)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(WORDS, st.sampled_from("xy")), max_size=12), st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_the_result_is_that_of_comparing_all_with_all(rows: list[tuple[str, str]], similarity: float) -> None:
    kept: list[int] = []
    expected: dict[int, tuple[int, float]] = {}
    sets = [runs_of(tokens(question)) for question, _ in rows]
    for at, (_, answer) in enumerate(rows):
        alike = [
            (len(sets[at] & sets[other]) / len(sets[at] | sets[other]), -other)
            for other in kept
            if rows[other][1] == answer
        ]
        best = max(alike, default=(0.0, 0))
        if best[0] >= similarity:
            expected[at + 1] = (1 - best[1], best[0])
        else:
            kept.append(at)
    result = found(*rows, similarity=similarity)
    assert {row: one.like for row, one in result.items()} == {row: like for row, (like, _) in expected.items()}
    assert [one.similarity for one in result.values()] == pytest.approx([share for _, share in expected.values()])


@pytest.mark.slow
def test_hostile_texts_take_no_time_and_no_error() -> None:
    rows = [
        "\ud800 lone",
        "a\u0301" * 50_000,
        "((((" * 50_000,
        "5" * 100_000,
        "!" * 100_000,
        "\\" * 9,
        "。",
        "🙂" * 1000,
    ]
    assert found(*rows, *rows).keys() == {row + len(rows) for row in range(1, len(rows) + 1)}


@pytest.mark.slow
async def test_a_run_pays_for_one_of_them_and_says_which_it_was(tmp_path: Path) -> None:
    rows = questions(6)
    again = [
        row | {"id": f"again{n}", "question": f"Please solve: {row['question']}"} for n, row in enumerate(rows[:2])
    ]
    rows = [*rows[:3], *again, *rows[3:]]
    async with serve() as server:
        config = config_at(server.base_url, dataset=weak2wise.Dataset(dedup=0.5))
        run = await weak2wise.asynthesize(rows, config, work_dir=tmp_path / "work")
        paid = sum(count.asked for count in asked(server).values())
        kept = [row for row in rows if not row["id"].startswith("again")]
        await weak2wise.asynthesize(kept, config, work_dir=tmp_path / "kept")
        assert sum(count.asked for count in asked(server).values()) == 2 * paid, "nothing was paid for the others"
    assert run.totals.dropped["near_duplicate"] == 2
    [first, second] = [end for end in run.dropped() if end.reason == "near_duplicate"]
    assert isinstance(first, Dropped)
    assert (first.row, second.row) == (4, 5)
    assert first.why.startswith("near_duplicate: nearly the same as row 1, similarity 0.")
    assert run.settings["dataset.dedup"] == 0.5
    table = run.to_pandas("dropped")
    assert str(second.detail) in set(table["detail"])


@pytest.mark.slow
def test_the_same_rows_are_dropped_whatever_stops_and_starts_there_were(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = run_in(tmp_path, server.base_url, questions=8)
        del config
        path = tmp_path / "in.jsonl"
        rows = lines(path)
        rows = [one for row in rows for one in (row, row | {"question": f"Kindly answer: {row['question']}"})]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        dedup = ("--set", "dataset.dedup=0.5")
        finish(tmp_path, *dedup, "--limit", "3")
        finish(tmp_path, *dedup, "--limit", "8")
        said = finish(tmp_path, *dedup)
        assert "nearly the same as an earlier question" in said
        assert "dataset.dedup" in finish(tmp_path, code=2), "it shapes results"
    totals: dict[str, Any] = json.loads((tmp_path / "work" / "summary.json").read_text())["totals"]
    assert totals["dropped"]["near_duplicate"] == 8
    assert {line["question"] for line in lines(tmp_path / "work" / "s_prime.jsonl")}.isdisjoint(
        {row["question"] for row in rows[1::2]}
    )


@pytest.mark.slow
def test_check_counts_them_and_status_and_report_say_the_reason_in_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with LoopbackProcess() as server:
        run_in(tmp_path, server.base_url, questions=4)
        path = tmp_path / "in.jsonl"
        path.write_text(path.read_text() * 2)
        dedup = ("--set", "dataset.dedup=0.8")
        said = finish(tmp_path, *dedup, command="check")
        assert "4 nearly repeat an earlier question and will be dropped" in " ".join(said.split())
        finish(tmp_path, *dedup)
    assert command("status", tmp_path / "work") == 0
    assert "dropped: nearly the same as an earlier question: 4" in " ".join(capfd.readouterr().out.split())
    assert command("report", tmp_path / "work") == 0
    assert "nearly the same as an earlier question: 4" in (tmp_path / "work" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("value", ["0", "1.5", "-1", "much"])
def test_a_similarity_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    run_in(tmp_path, "http://unused", questions=1)
    assert "dataset.dedup" in finish(tmp_path, "--set", f"dataset.dedup={value}", code=2)


def test_alike_rows_are_looked_for_among_equal_signs_only() -> None:
    """The words alone would be alike: the signs are what keeps such questions apart."""
    texts = [BASE, BASE.replace("48", "47"), BASE.replace("half", "twice")]
    for one, other in combinations(texts, 2):
        mine, theirs = runs_of(tokens(one)), runs_of(tokens(other))
        assert len(mine & theirs) / len(mine | theirs) > 0.6
