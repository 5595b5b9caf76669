"""Odd but real files are read, or refused in one line that says what is wrong; never an error a row for one mistake."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from weak2wise.config import Columns
from weak2wise.dataset import InputRow, count_rows, read_rows, unreadable_advice
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Failed

ROWS = [{"question": "1 + 1, or more?", "answer": "2"}, {"question": "Größe?", "answer": "3;5"}]
WANTED = [InputRow(number, None, row["question"], row["answer"]) for number, row in enumerate(ROWS, 1)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = 'question,answer\n"1 + 1, or more?",2\nGröße?,3;5\n'.encode()


async def read(path: Path) -> list[InputRow | Failed]:
    return [row async for row in read_rows(path, Columns())]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("IN.JSONL", LINES),
        ("in.jsonl.GZ", gzip.compress(LINES, mtime=0)),
        ("in.ndjson", LINES),
        ("in.JSON", json.dumps(ROWS).encode()),
        ("in.json.gz", gzip.compress(json.dumps(ROWS, indent=2).encode(), mtime=0)),
        ("in.json.zst", zstandard.compress(LINES)),
        ("in.json", json.dumps({"data": ROWS}).encode()),
        ("pretty.json", json.dumps({"rows": ROWS}, indent=2).encode()),
        ("in.json", b"\xef\xbb\xbf \n" + json.dumps({"data": ROWS}).encode() + b" \n"),
        ("IN.CSV", CSV),
        ("in.csv.gz", gzip.compress(CSV, mtime=0)),
        ("in.csv", 'question;answer\n1 + 1, or more?;2\nGröße?;"3;5"\n'.encode()),
        ("in.csv", "question\tanswer\n1 + 1, or more?\t2\nGröße?\t3;5\n".encode()),
        ("in.tsv", "question\tanswer\r\n1 + 1, or more?\t2\r\nGröße?\t3;5\r\n".encode()),
        ("in.tsv.zst", zstandard.compress("question\tanswer\n1 + 1, or more?\t2\nGröße?\t3;5\n".encode())),
        ("index.csv", ',question,answer\n0,"1 + 1, or more?",2\n1,Größe?,3;5\n'.encode()),
        ("trailing.csv", 'question,answer,,\n"1 + 1, or more?",2,,\nGröße?,3;5,,\n'.encode()),
        ("spaces.csv", 'question,answer, ,\n"1 + 1, or more?",2,,\nGröße?,3;5,,\n'.encode()),
    ],
)
async def test_what_people_have_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert await read(path) == WANTED
    assert count_rows(path) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.jsonl", json.dumps(ROWS, indent=2).encode(), "is a JSON array; its name must end in .json"),
        ("in.jsonl", json.dumps(ROWS).encode(), "is a JSON array; its name must end in .json"),
        ("in.jsonl", json.dumps(ROWS[0], indent=2).encode(), "one JSON object over many lines"),
        ("in.json", json.dumps({"version": 1, "data": ROWS}, indent=2).encode(), "one JSON object over many lines"),
        ("in.jsonl", gzip.compress(LINES, mtime=0), "is gzip; its name must end in .gz"),
        ("in.csv", zstandard.compress(CSV), "is zstandard; its name must end in .zst"),
        ("in.json", b"PAR1" + bytes(50), "is Parquet; its name must end in .parquet"),
        ("in.csv", b"PK\x03\x04" + bytes(50), "a ZIP archive or a spreadsheet"),
        ("in.csv", CSV.decode().encode("utf-16"), "is UTF-16; convert it to UTF-8"),
        ("in.parquet.gz", gzip.compress(b"PAR1", mtime=0), "in.parquet.gz: cannot be read"),
    ],
)
async def test_a_file_of_another_kind_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"\(dataset.input_path\)$") as refused:
        await read(tmp_path / name)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["in.csv.gz", "in.json.gz", "IN.JSON", "in.JSONL.GZ", "in.PARQUET"])
def test_nobody_is_advised_to_append_where_a_run_would_not_go_on(name: str) -> None:
    assert "a work_dir of its own" in unreadable_advice(1, Path("failed.jsonl"), Path(name))


def as_parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


def not_utf8(*texts: bytes) -> pa.Array:
    """A column of text that is not checked, as another program may have written it."""
    ends = [sum(map(len, texts[:n])) for n in range(len(texts) + 1)]
    offsets = b"".join(end.to_bytes(4, "little") for end in ends)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"question": [b"\xff", b"1 + 1?"], "answer": ["1", "2"]}, "row 1: not UTF-8"),
        ({"question": not_utf8(b"\xff", b"1 + 1?"), "answer": ["1", "2"]}, "row 1: field 'question': "),
        ({"question": ["x", "1 + 1?"], "answer": ["1", "2"], "tag": not_utf8(b"\xff", b"a")}, "row 1: field 'tag': "),
        (
            {"question": ["x", "1 + 1?"], "answer": ["1", "2"], "day": pa.array([10**7, 1], pa.date32())},
            "row 1: field 'day': date value out of range",
        ),
        (
            {"question": ["x", "1 + 1?"], "answer": ["1", "2"], "at": pa.array([10**17, 1], pa.timestamp("ms"))},
            "row 1: field 'at': ",
        ),
    ],
)
async def test_a_parquet_row_that_cannot_be_read_is_reported_and_the_next_goes_through(
    tmp_path: Path, columns: dict[str, Any], says: str
) -> None:
    (tmp_path / "in.parquet").write_bytes(as_parquet(columns))
    bad, good = await read(tmp_path / "in.parquet")
    assert isinstance(bad, Failed)
    assert says in bad.message
    assert good == InputRow(2, None, "1 + 1?", "2")


async def test_parquet_text_in_columns_of_bytes_is_text(tmp_path: Path) -> None:
    texts = {key: [row[key].encode() for row in ROWS] for key in ("question", "answer")}
    (tmp_path / "in.parquet").write_bytes(as_parquet(texts))
    assert await read(tmp_path / "in.parquet") == WANTED


@pytest.mark.parametrize("bad", [b"9" * 5000, b"-" + b"9" * 5000, b"[" + b"9" * 5000 + b"]"])
async def test_an_element_of_thousands_of_digits_is_reported_and_the_next_goes_through(
    tmp_path: Path, bad: bytes
) -> None:
    (tmp_path / "in.json").write_bytes(b"[" + bad + b", " + json.dumps(ROWS[0]).encode() + b"]")
    first, second = await read(tmp_path / "in.json")
    assert isinstance(first, Failed)
    assert first.kind == "not_json"
    assert second == InputRow(2, None, ROWS[0]["question"], ROWS[0]["answer"])


@pytest.mark.parametrize(("name", "form"), [("in.json", b"[%b]"), ("in.jsonl", b"%b\n")])
async def test_an_answer_of_thousands_of_digits_is_read_from_an_array_as_from_a_line(
    tmp_path: Path, name: str, form: bytes
) -> None:
    (tmp_path / name).write_bytes(form % (b'{"question": "10 ** 5000 - 1?", "answer": ' + b"9" * 5000 + b"}"))
    assert await read(tmp_path / name) == [InputRow(1, None, "10 ** 5000 - 1?", "9" * 5000)]
