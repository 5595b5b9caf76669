"""Held-out questions against the training input."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tests.proof.held_out import write_rows
from weak2wise.config import Columns, Dataset
from weak2wise.dataset import InputRow
from weak2wise.errors import ConfigError
from weak2wise.proof.held_out import HeldOut, shared_with

COLUMNS = Columns()
texts = st.lists(st.sampled_from(["one", "two", "three", "Four", "five."]), min_size=1, max_size=16).map(" ".join)


def rows(questions: list[str]) -> list[InputRow]:
    """Held-out questions, numbered from 1."""
    return [InputRow(number, None, text, "1") for number, text in enumerate(questions, 1)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(training=st.lists(texts, min_size=1, max_size=6), held_out=st.lists(texts, min_size=1, max_size=6))
def test_the_same_and_the_similar_are_found_whatever_the_order(
    tmp_path_factory: object, training: list[str], held_out: list[str]
) -> None:
    """Held against comparing each with each."""
    folder = tmp_path_factory.mktemp("held")  # type: ignore[attr-defined]
    file = write_rows(folder / "train.jsonl", [{"question": text, "answer": "1"} for text in training])

    def spelled(text: str) -> list[str]:
        return text.lower().replace(".", "").split()

    def runs(text: str) -> set[tuple[str, ...]]:
        words = spelled(text)
        return {tuple(words[at : at + 13]) for at in range(len(words) - 12)}

    found = shared_with(file, COLUMNS, rows(held_out))
    known = [spelled(text) for text in training]
    same = [number for number, text in enumerate(held_out, 1) if spelled(text) in known]
    similar = [
        number
        for number, text in enumerate(held_out, 1)
        if number not in same and any(runs(text) & runs(other) for other in training)
    ]
    assert (found.same, found.similar) == (same, similar)


def test_rows_that_cannot_be_read_on_either_side_are_no_obstacle(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text('not JSON\n{"question": "How many?", "answer": "1"}\n{"question": 5}\n')
    held = tmp_path / "held.jsonl"
    lines = [json.dumps({"question": text, "answer": "2"}) for text in ("how MANY", "How much?")]
    held.write_text("\n".join([lines[0], "[]", lines[1]]) + "\n")
    found = HeldOut.read(held, COLUMNS, None, folder=tmp_path, trained_on=Dataset(input_path=str(train)))
    assert [row.number for row in found.rows] == [3]
    assert ([failed.row for failed in found.unreadable], found.shared.same, found.training) == ([2], [1], train)


def test_a_training_input_that_is_not_at_hand_is_not_compared(tmp_path: Path) -> None:
    held = write_rows(tmp_path / "held.jsonl", [{"question": "How many?", "answer": "1"}])
    for dataset in (None, Dataset(), Dataset(input_path=str(tmp_path / "gone.jsonl")), Dataset(input_path="hf:a/b")):
        found = HeldOut.read(held, COLUMNS, None, folder=tmp_path, trained_on=dataset)
        assert (found.training, len(found.rows)) == (None, 1)


def test_a_file_without_one_question_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text('{"question": "How many?", "answer": ""}\n{"question": 5, "answer": "2"}\n')
    with pytest.raises(ConfigError, match="no question that can be asked; line 1: field 'answer' is empty"):
        HeldOut.read(held, COLUMNS, None, folder=tmp_path, trained_on=None)
    held.write_text("")
    with pytest.raises(ConfigError, match="holds no questions"):
        HeldOut.read(held, COLUMNS, None, folder=tmp_path, trained_on=None)
