"""The word problems of scripts/prove: many, different, solvable as they say, and never both learnt from and asked."""

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine_runs import ROOT

_SPEC = importlib.util.spec_from_file_location("prove_questions", ROOT / "scripts" / "prove" / "questions.py")
assert _SPEC
assert _SPEC.loader
questions = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = questions
_SPEC.loader.exec_module(questions)


def _both(seeds: tuple[int, int] = (0, 0), level: int = 2) -> tuple[list[tuple[str, int, str]], ...]:
    return tuple(
        list(questions.problems(part, count, level=level, seed=seed))
        for part, count, seed in zip(questions.PARTS, (400, 300), seeds, strict=True)
    )


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1), (7, 3)])
def test_no_problem_is_in_both_parts_whatever_the_seeds(seeds: tuple[int, int]) -> None:
    train, held_out = _both(seeds)
    assert len({key for *_, key in train}) == 400
    assert len({key for *_, key in held_out}) == 300
    assert not {key for *_, key in train} & {key for *_, key in held_out}

    def content(text: str) -> tuple[str, ...]:
        """The numbers and the words that are not names or things: what is left is the sum."""
        told = {*questions.NAMES, *questions.THINGS}
        return tuple(word for word in re.findall(r"\w+", text) if word not in told)

    assert not {content(text) for text, *_ in train} & {content(text) for text, *_ in held_out}


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ["--out", str(tmp_path / folder), "--train", "20", "--held-out", "20", "--seed", str(seed)]
        assert questions.main(arguments) == 0
    read = {f: [(tmp_path / f / f"{part}.jsonl").read_bytes() for part in questions.PARTS] for f in "abc"}
    assert read["a"] == read["b"]
    assert read["a"][0] != read["c"][0]
    row = json.loads(read["a"][0].splitlines()[0])
    assert set(row) == {"id", "question", "answer"}
    assert int(row["answer"]) > 0
    assert all(json.loads(line)["question"].endswith(questions.ENDING) for line in read["a"][1].splitlines())


@pytest.mark.parametrize("level", questions.LEVELS)
def test_every_story_is_told_and_its_sum_is_right(level: int) -> None:
    sums: dict[str, Callable[..., int]] = {
        "_birds": lambda a, b: a + b, "_flown": lambda a, b: a - b, "_walk": lambda a, b: a + b,
        "_eggs": lambda a, b: a + b, "_sold": lambda a, b: a - b, "_bowls": lambda a, b: a + b,
        "_gift": lambda a, b: a + b, "_eaten": lambda a, b: a - b, "_shelves": lambda a, b: a * b,
        "_shared": lambda _b, each: each, "_bus": lambda a, b, c: a - b + c, "_tickets": lambda a, b: a * b,
        "_change": lambda a, b: a - b, "_age": lambda a, b: a + b, "_boxes": lambda a, b, c: a * b + c,
        "_pages": lambda a, b, c: a + b + c, "_garden": lambda a, b, c: a * b - c,
        "_earned": lambda a, b, c: a * b - c, "_more_than": lambda a, b: 2 * a + b, "_half": lambda a, b: a + b,
    }  # fmt: skip
    told = set()
    for text, answer, key in questions.problems("train", 200, level=level, seed=0):
        story, numbers = key.rstrip(")").split("(")
        assert answer == sums[story](*map(int, numbers.split(",")))
        assert answer > 0
        assert text.endswith("?")
        told.add(story)
    assert told == {story.__name__ for story in questions.stories(level)}


def test_more_problems_than_there_are_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert questions.main(["--out", str(tmp_path), "--level", "1", "--train", "5000"]) == 2
    assert "fewer than 5,000 different problems" in capsys.readouterr().err


def test_a_file_of_other_questions_is_divided_and_none_is_in_both_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"question": f"What is {number} plus {number}?", "answer": str(2 * number)} for number in range(100)]
    again = [row | {"question": f" {row['question'].replace(' is ', '  IS ')} "} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *again]))
    assert questions.main(["--out", str(tmp_path / "out"), "--file", str(file)]) == 0
    train, held_out = (
        [json.loads(line)["question"] for line in (tmp_path / "out" / f"{part}.jsonl").read_text().splitlines()]
        for part in questions.PARTS
    )
    assert sorted([*train, *held_out]) == sorted(row["question"] for row in rows)
    assert 20 <= len(held_out) <= 47
    file.write_text('{"question": "What is 1 plus 1?"}\n')
    assert questions.main(["--out", str(tmp_path / "out"), "--file", str(file)]) == 2
    assert "line 1: expected" in capsys.readouterr().err
