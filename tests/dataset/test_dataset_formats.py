"""The same questions in every format are the same rows, and a bad one costs only itself."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from tests.engine_runs import config_for, finish, lines, write_run
from tests.finished_run import command
from tests.loopback import LoopbackProcess
from weak2wise.config import Columns
from weak2wise.dataset import InputRow, count_rows, keep, read_rows, read_values, unreadable_advice
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import digest_input
from weak2wise.ledger.outcomes import Failed

Rows = list[dict[str, Any]]


async def read(path: Path) -> list[InputRow | Failed]:
    return [row async for row in read_rows(path, Columns())]


def jsonl(rows: Rows) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def as_csv(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "in.jsonl": jsonl,
    "in.jsonl.gz": lambda rows: gzip.compress(jsonl(rows)),
    "frames.jsonl.zst": lambda rows: zstandard.compress(jsonl(rows[:7])) + zstandard.compress(jsonl(rows[7:])),
    "in.jsonl.zst": lambda rows: zstandard.compress(jsonl(rows)),
    "in.json": lambda rows: json.dumps(rows, indent=1, ensure_ascii=False).encode(),
    "lines.json": jsonl,
    "in.csv": as_csv,
    "in.parquet": as_parquet,
}
QUESTIONS = [
    {
        "id": f"q{i}",
        "question": f'Größe, "quoted"\nand {{over}} two lines ∑ {i}',
        "answer": str(i / 4),
        "subject": "ab"[i % 2],
    }
    for i in range(2500)
]


@pytest.mark.parametrize("name", list(WRITERS))
async def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WRITERS[name](QUESTIONS))
    rows = await read(path)
    assert rows == [InputRow(number, q["id"], q["question"], q["answer"]) for number, q in enumerate(QUESTIONS, 1)]
    assert count_rows(path) == len(QUESTIONS)
    values = list(read_values(path, "subject"))
    assert [(number, json.loads(value)) for number, value in values] == [
        (number, q["subject"]) for number, q in enumerate(QUESTIONS, 1)
    ]


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "lines.json"])
async def test_the_advice_to_append_a_corrected_row_is_given_where_a_run_goes_on_with_it(
    tmp_path: Path, name: str
) -> None:
    """What is packed is appended to as its format allows; it is no longer what the run was begun with."""
    path = tmp_path / name
    path.write_bytes(WRITERS[name](QUESTIONS[:5]))
    known, _ = digest_input(path)
    if name not in {"in.json", "in.parquet"}:
        more = WRITERS[name](QUESTIONS[5:6])
        with path.open("ab") as file:
            file.write(more.partition(b"\n")[2] if name == "in.csv" else more)
        assert count_rows(path) == 6
    _, grown = digest_input(path, known=known)
    advice = unreadable_advice(1, Path("failed.jsonl"), path)
    assert ("append corrected lines" in advice) == (grown and count_rows(path) == 6)
    assert ("a work_dir of its own" in advice) == (name not in {"in.jsonl", "in.csv"})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.json", b'[{"question": "x"}, {"question": "1 + 1?", "answer": 2}]', "row 1: no field 'answer'"),
        ("in.json", b'[7, {"question": "1 + 1?", "answer": 2}]', "row 1: not a JSON object"),
        ("in.json", b'[{"question": "\xff", "answer": 3}, {"question": "1 + 1?", "answer": 2}]', "row 1: not UTF-8"),
        ("in.csv", b"question,answer\nonly one\n1 + 1?,2\n", "row 1: 1 fields, but the header has 2"),
        ("in.csv", b'question,answer\n"a"b,1\n1 + 1?,2\n', "row 1: no CSV"),
        ("in.csv", b"question,answer\n,1\n1 + 1?,2\n", "row 1: field 'question' is empty"),
        ("in.csv", b"question,answer\n\xff,1\n1 + 1?,2\n", "row 1: not UTF-8"),
    ],
)
async def test_a_bad_row_is_reported_by_number_and_the_next_goes_through(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    bad, good = await read(tmp_path / name)
    assert isinstance(bad, Failed)
    assert says in bad.message
    assert good == InputRow(2, None, "1 + 1?", "2")


async def test_a_parquet_row_with_nothing_in_it_is_reported(tmp_path: Path) -> None:
    rows: Rows = [{"question": None, "answer": 2.5}, {"question": "1 + 1?", "answer": 2.0}]
    (tmp_path / "in.parquet").write_bytes(as_parquet(rows))
    bad, good = await read(tmp_path / "in.parquet")
    assert isinstance(bad, Failed)
    assert "row 1: field 'question': expected text" in bad.message
    assert good == InputRow(2, None, "1 + 1?", "2.0")


@pytest.mark.parametrize("gap", ["", "\n" * 2_000_000])
async def test_what_follows_a_json_array_is_reported(tmp_path: Path, gap: str) -> None:
    array = json.dumps([{"question": "1 + 1?", "answer": "2"}])
    (tmp_path / "in.json").write_text(array + gap + array)
    good, bad = await read(tmp_path / "in.json")
    assert good == InputRow(1, None, "1 + 1?", "2")
    assert isinstance(bad, Failed)
    assert "row 2: the array has ended, and this follows it: '[{" in bad.message
    (tmp_path / "in.json").write_text(array + gap + "\n")
    assert len(await read(tmp_path / "in.json")) == 1


async def test_a_csv_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("question,answer,question\n1 + 1?,2,3 + 3?\n")
    with pytest.raises(ConfigError, match="its header names 'question' twice"):
        await read(tmp_path / "in.csv")


async def test_a_json_array_that_breaks_off_gives_what_was_whole(tmp_path: Path) -> None:
    """Elements longer than one read, too."""
    whole = [{"question": "x" * 3_000_000, "answer": "1"}, {"question": "y", "answer": "2"}]
    (tmp_path / "in.json").write_bytes(json.dumps(whole).encode()[:-20])
    first, last = await read(tmp_path / "in.json")
    assert first == InputRow(1, None, "x" * 3_000_000, "1")
    assert isinstance(last, Failed)
    assert (last.row, last.kind) == (2, "not_json")


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.jsonl.zst", "in.parquet"])
async def test_a_damaged_file_is_told_in_a_line(tmp_path: Path, name: str) -> None:
    whole = WRITERS[name](QUESTIONS)
    for content in (whole[: len(whole) // 2], b"no such format"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=r"in\..* cannot be read.*\(dataset.input_path\)") as told:
            await read(tmp_path / name)
        assert "\n" not in str(told.value)


@pytest.mark.slow
def test_a_run_reads_parquet(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        pairs = write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 6)
        rows = [{"question": question, "answer": answer} for question, answer in pairs]
        (tmp_path / "in.parquet").write_bytes(as_parquet(rows))
        finish(tmp_path, "--set", f"dataset.input_path={tmp_path / 'in.parquet'}")
    assert lines(tmp_path / "out.jsonl")


@pytest.mark.slow
def test_a_data_set_by_name_is_kept_in_the_work_dir_and_read_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder stands in for the Hub: to ``datasets`` both are names. It goes away, and the run does not mind.

    The same holds for evaluation sets; ``check`` reads what the run has kept, and keeps nothing itself.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with LoopbackProcess() as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        write_run(tmp_path, config, 6)
        for name in ("data", "sets"):
            (tmp_path / name).mkdir()
        (tmp_path / "in.jsonl").rename(tmp_path / "data" / "test.jsonl")
        (tmp_path / "sets" / "test.jsonl").write_text('{"question": "Another?"}\n')
        sources = {"input_path": f"hf:{tmp_path / 'data'}::test", "decontaminate": f"[hf:{tmp_path / 'sets'}::test]"}
        overrides = [part for key, name in sources.items() for part in ("--set", f"dataset.{key}={name}")]
        check = ("check", "--config", tmp_path / "config.yaml", *overrides)
        assert command(*check) == 0
        assert not (tmp_path / "work").exists()
        finish(tmp_path, "--up-to-step", "1", *overrides)
        for name in ("data", "sets"):
            (tmp_path / name / "test.jsonl").unlink()
        assert command(*check) == 0
        finish(tmp_path, *overrides)
        capsys.readouterr()
    assert lines(tmp_path / "out.jsonl")
    assert command("status", tmp_path / "work", "--json") == 0
    assert json.loads(capsys.readouterr().out)["totals"]["rows"] == 6


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("source", ["hf:", "hf:a:b:c:d", "hf:/nowhere/at/all"])
def test_a_data_set_that_is_not_there_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"^hf:.*(expected hf:owner/name|Check its name and the network)"):
        keep(Path(source), tmp_path)
    assert not list(tmp_path.iterdir())
