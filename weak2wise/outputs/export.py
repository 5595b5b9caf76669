"""Write training data from a run's ledgers in a trainer's layout: one row at a time, each file atomically."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, structs

from weak2wise.config import Response
from weak2wise.errors import FORMATS, ConfigError
from weak2wise.ledger.files import replacing, write_atomic
from weak2wise.ledger.outcomes import Done
from weak2wise.llm.receipts import Receipt
from weak2wise.outputs.layouts import Layout
from weak2wise.outputs.provenance import in_words, of_row
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.trainers import Longest
from weak2wise.outputs.work_dir import WorkDir, model_in
from workers.records import Golden, Kept, SftRow

T = TypeVar("T")

PROVENANCE = {
    "row": "int",
    "id": "text",
    "score": "float",
    "s_list": "ints",
    "strong_model": "text",
    "candidate": "text",
    "marks": "text",
    "cut_by": "text",
    "judge": "text",
    "judge_llm_calls": "int",
    "cost_usd": "float",
    "settings": "text",
}
"""Fields of the ``provenance`` column and their types, for a run that was scored by Step-Mask."""

_BATCH = 1000


def rows_of(
    work: WorkDir,
    chosen: Iterable[int],
    layout: Layout,
    provenance: Mapping[str, str],
    *,
    response: Response | None,
    longest: Longest,
) -> Iterator[dict[str, Any]]:
    """The chosen rows in a layout, with these provenance fields (if any), read one at a time. Blocks.

    A row of the run makes as many as it keeps traces; in a layout of pairs one, or none if it is no pair.

    Args:
        work: the run.
        chosen: numbers of rows that the run has emitted.
        layout: how a row is made.
        provenance: fields of the ``provenance`` column.
        response: the template of the responses; ``None``: as the run has made them.
        longest: is shown every row.
    """
    costs = _row_costs(work) if provenance else {}
    settings = of_row(work)
    for row in chosen:
        sft = _done(work, SftRow, row)
        if response is not None:
            sft = _anew(sft, _done(work, Golden, row), response)
        texts: list[tuple[str, ...]] = [(response,) for response in sft.responses]
        if layout.of_pairs:
            texts = [] if sft.rejected is UNSET else [(sft.response, sft.rejected)]
        for number, text in enumerate(texts):
            for one in text:
                longest.see(sft.prompt, one)
            line = layout.row(sft.prompt, *text)
            if provenance:
                golden = _done(work, Golden, row)
                known = _provenance(work, golden, golden.kept[number], costs.get(row, _RowCost()), settings(row))
                line["provenance"] = {field: known[field] for field in provenance}
            yield line


def _anew(sft: SftRow, golden: Golden, response: Response) -> SftRow:
    """A row with its responses made anew by another template."""
    answer = golden.question.answer
    first, *more = (response.fill(kept.truncated, answer) for kept in golden.kept)
    others = UNSET if sft.others is UNSET else tuple(more)
    return structs.replace(sft, response=first, others=others, rejected=UNSET if sft.rejected is UNSET else more[0])


def _done(work: WorkDir, record: type[T], row: int) -> T:
    outcome = work.made(record).read(row)
    assert isinstance(outcome, Done)
    return outcome.record


class _RowCost(Struct):
    """One row's number of verdicts by the judge LLM, and US dollars for all its answers."""

    judged: int = 0
    cost_usd: float = 0.0


def _row_costs(work: WorkDir) -> dict[int, _RowCost]:
    """By row; only rows that were judged by an LLM or cost money."""
    costs: dict[int, _RowCost] = {}

    def count(receipt: Receipt) -> None:
        judged = receipt.role == "judge"
        if judged or receipt.cost_usd:
            cost = costs.setdefault(receipt.row, _RowCost())
            cost.judged += judged and receipt.answered
            cost.cost_usd += receipt.cost_usd

    work.journal.look(count)
    return costs


def _provenance(
    work: WorkDir, golden: Golden, kept: Kept, cost: _RowCost, settings: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What is known of the origin of one trace; ``settings`` has those that made it, by step."""
    winner, score = kept.candidate, kept.score
    mode = settings.get("stepmask", {}).get("params.judge_mode")
    return {
        "row": golden.row,
        "id": golden.question.id or str(golden.row),
        "score": score.score,
        "s_list": score.s_list,
        "evidence": msgspec.json.encode(score.debug).decode(),
        "strong_model": public_name(model_in(settings.get("generate", {}), winner.m_strong)),
        "candidate": f"{golden.row}/{winner.m_strong}/{winner.sample}",
        # One text, not a list: readers that infer types from the first rows take an empty list for a list of nulls.
        "marks": ", ".join(winner.marks),
        "cut_by": kept.cut_by,
        "judge": "llm" if mode == "llm" else "rule and llm" if cost.judged else "rule",
        "judge_llm_calls": cost.judged,
        "cost_usd": round(cost.cost_usd, 6),
        "settings": in_words(work, settings),
    }


def provenance_fields(work: WorkDir) -> dict[str, str]:
    """The fields of a run's ``provenance`` column and their types. Another scorer's evidence is JSON text."""
    if work.scorer_name == "stepmask":
        return PROVENANCE
    changed = PROVENANCE | {"s_list": "text"}
    return {"evidence" if field == "s_list" else field: kind for field, kind in changed.items()}


def write_rows(
    path: Path, rows: Iterable[dict[str, Any]], layout: Layout, provenance: Mapping[str, str], *, private: bool
) -> int:
    """Write the rows as Parquet or as JSON lines, by the file's name; as these two functions."""
    if path.suffix == ".parquet":
        return write_parquet(path, rows, layout, provenance, private=private)
    return write_jsonl(path, rows, private=private)


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]], *, private: bool) -> int:
    """Write the rows as JSON lines and return how many. Blocks; raises ``OSError``."""
    encode = msgspec.json.Encoder().encode
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for count, row in enumerate(rows, 1):  # noqa: B007 - returned by write_jsonl
            yield encode(row) + b"\n"

    write_atomic(path, lines(), private=private)
    return count


def write_parquet(
    path: Path, rows: Iterable[dict[str, Any]], layout: Layout, provenance: Mapping[str, str], *, private: bool
) -> int:
    """Write the rows as Parquet, a thousand at a time, and return how many. Blocks.

    Raises:
        ConfigError: pyarrow is not installed.
        OSError: the file cannot be written.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigError(f"{path}: Parquet needs pyarrow: {FORMATS}") from None
    types = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "ints": pa.list_(pa.int8())}
    fields = {}
    for column, kind in layout.types.items():
        keys = kind.partition(":")[2].split(",")
        fields[column] = types.get(kind) or pa.list_(pa.struct([(key, pa.string()) for key in keys]))
    if provenance:
        fields["provenance"] = pa.struct([(key, types[kind]) for key, kind in provenance.items()])
    schema = pa.schema(fields)
    count = 0
    with replacing(path, private=private) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
