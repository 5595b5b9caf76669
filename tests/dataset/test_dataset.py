"""Reading input: good lines go through, each bad one is reported with its number and reason."""

from pathlib import Path

import pytest

from weak2wise.config import Columns
from weak2wise.dataset import LONGEST_LINE, InputRow, read_rows
from weak2wise.ledger.outcomes import Failed


async def read(tmp_path: Path, content: bytes, columns: Columns | None = None) -> list[InputRow | Failed]:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    return [row async for row in read_rows(path, columns or Columns())]


GOOD = b'{"question": "1 + 1?", "answer": "2"}'


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        (b'{"question": "x"', "not_json", "not a JSON object"),
        (b"[1, 2]", "not_json", "not a JSON object"),
        (b'{"question": "caf\xe9", "answer": "2"}', "not_utf8", "not UTF-8"),
        (b'{"answer": "2"}', "bad_field", "no field 'question' (there are: answer)"),
        (b'{"question": "x"}', "bad_field", "no field 'answer'"),
        (b'{"question": "  ", "answer": "2"}', "bad_field", "'question' is empty"),
        (b'{"question": "x", "answer": ""}', "bad_field", "'answer' is empty"),
        (b'{"question": 7, "answer": "2"}', "bad_field", "'question': expected text"),
        (b'{"question": "x", "answer": null}', "bad_field", "'answer': expected text or a number"),
        (rb'{"question": "\ud800", "answer": "2"}', "not_json", "malformed"),
        (b'{"question": "x", "answer": [2]}', "bad_field", "'answer': expected text or a number"),
    ],
)
async def test_a_bad_line_is_reported_and_the_good_ones_go_through(
    tmp_path: Path, line: bytes, kind: str, says: str
) -> None:
    first, bad, last = await read(tmp_path, b"\n".join([GOOD, line, GOOD]))
    assert isinstance(first, InputRow)
    assert isinstance(last, InputRow)
    assert isinstance(bad, Failed)
    assert (bad.row, bad.stage, bad.kind) == (2, "input", kind)
    assert says in bad.message
    assert "line 2" in bad.message


async def test_bom_crlf_and_blank_lines_are_no_matter(tmp_path: Path) -> None:
    rows = await read(tmp_path, b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n" + GOOD + b"\r\n\n")
    assert [row.number for row in rows if isinstance(row, InputRow)] == [1, 3]


async def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert await read(tmp_path, b"") == []


@pytest.mark.parametrize(("written", "read_as"), [(b"18.50", "18.50"), (b"-3", "-3"), (b"1e3", "1e3")])
async def test_a_number_is_taken_as_it_is_written(tmp_path: Path, written: bytes, read_as: str) -> None:
    (row,) = await read(tmp_path, b'{"question": "x", "answer": ' + written + b"}")
    assert isinstance(row, InputRow)
    assert row.answer == read_as


async def test_duplicate_ids_are_kept_apart_by_line(tmp_path: Path) -> None:
    line = b'{"id": 7, "question": "x", "answer": "2"}'
    rows = await read(tmp_path, line + b"\n" + line)
    assert [(r.number, r.id) for r in rows if isinstance(r, InputRow)] == [(1, "7"), (2, "7")]


async def test_a_megabyte_question_goes_through(tmp_path: Path) -> None:
    text = b"## {x} " * 150_000
    (row,) = await read(tmp_path, b'{"question": "' + text + b'", "answer": "2"}')
    assert isinstance(row, InputRow)
    assert row.question.encode() == text


@pytest.mark.slow
async def test_an_endless_line_is_reported_without_being_held(tmp_path: Path) -> None:
    rows = await read(tmp_path, b"x" * (LONGEST_LINE + 10) + b"\n" + GOOD)
    assert [type(row) for row in rows] == [Failed, InputRow]
    assert isinstance(rows[0], Failed)
    assert rows[0].kind == "too_long"
    assert [row.number for row in rows if isinstance(row, InputRow)] == [2]


async def test_columns_may_have_other_names(tmp_path: Path) -> None:
    columns = Columns(question="problem", answer="solution")
    (row,) = await read(tmp_path, b'{"problem": "p", "solution": 4, "question": "no"}', columns)
    assert isinstance(row, InputRow)
    assert (row.question, row.answer) == ("p", "4")
