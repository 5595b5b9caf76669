"""Which questions of a run are compared: those with several traces, or a sample of them."""

from collections import Counter
from typing import NamedTuple

from msgspec import Struct

from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Done
from weak2wise.outputs.work_dir import WorkDir
from workers.faithful import MARK
from workers.records import Traced
from workers.seeds import seed_of


class Material(NamedTuple):
    """The questions to compare.

    Attributes:
        rows: theirs, in input order.
        available: how many there were to draw them from.
        left_out: how many cannot be compared, by reason.
    """

    rows: list[int]
    available: int
    left_out: Counter[str]


class _Candidate(Struct):
    step_list: tuple[str, ...]
    marks: tuple[str, ...] = ()


class _Traced(Struct):
    candidates: tuple[_Candidate, ...]


def material_of(work: WorkDir, sample: int, *, seed: int, faithful_only: bool) -> Material:
    """Up to ``sample`` questions, drawn at random; the same ones again as long as the run has no more. Blocks.

    Raises:
        ConfigError: fewer than two questions have several traces.
    """
    rows: list[int] = []
    left_out: Counter[str] = Counter()

    def take(done: Done[_Traced]) -> None:
        traces = [c for c in done.record.candidates if not (faithful_only and MARK in c.marks)]
        if len(traces) < 2:
            left_out["fewer than two traces"] += 1
        elif not any(trace.step_list for trace in traces):
            left_out["no trace with steps"] += 1
        else:
            rows.append(done.row)

    work.made(Traced).each_done(_Traced, take)
    if len(rows) < 2:
        why = "".join(f"; {count:,} left out: {reason}" for reason, count in left_out.items())
        raise ConfigError(
            f"{work.folder}: {len(rows)} questions have several traces to choose from, and a comparison needs two or "
            f"more{why} (params.samples_per_model)"
        )
    drawn = sorted(rows, key=lambda row: seed_of(seed, row, "compare"))[:sample]
    return Material(sorted(drawn), len(rows), left_out)
