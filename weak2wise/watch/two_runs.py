"""Two runs compared from their files: what was set otherwise, what came of it, and how far they agree."""

from collections.abc import Callable
from typing import NamedTuple

import xxhash
from msgspec import Struct

from weak2wise.ledger.manifest import differing
from weak2wise.ledger.outcomes import Done, RowStatus
from weak2wise.outputs.provenance import shown
from weak2wise.outputs.report.text import title
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.statistics import Difference, Estimate, mean, paired_difference, proportion
from weak2wise.watch.about import name_of
from workers.records import Golden

LISTED = 12
"""Questions listed whose scores differ most."""


class Side(Struct, frozen=True, kw_only=True):
    """What came of one run. ``usd_each``: US dollars for each question emitted. ``score``: of its golden traces."""

    name: str
    questions: int
    emitted: int
    dropped: int
    failed: int
    cost_usd: float
    usd_each: float | None
    score: Estimate | None


class Changed(Struct, frozen=True):
    """A setting in which they differ, and its two values in words."""

    key: str
    one: str
    other: str


class Apart(Struct, frozen=True):
    """A question whose two scores are far apart; ``title`` is escaped HTML."""

    row: int
    title: str
    one: float
    other: float


class TwoRuns(Struct, frozen=True, kw_only=True):
    """The comparison. Shares are of the questions that both runs have a golden trace of (``common``).

    ``by_row``: both have the same input, so questions are matched by row; otherwise by their text. ``alike``: of the
    questions that both have finished, the share that both emitted or both dropped; only with the same input.
    ``difference``: of the scores, the second run's minus the first one's; ``None`` where they are by other scorers.
    """

    sides: tuple[Side, Side]
    changed: list[Changed]
    by_row: bool
    common: int
    alike: Estimate | None
    difference: Difference | None
    same_model: Estimate | None
    same_trace: Estimate | None
    apart: list[Apart]


class _Question(Struct):
    text: str


class _Winner(Struct):
    m_strong: str
    step_reasoning: str


class _Score(Struct):
    score: float


class _Head(Struct):
    question: _Question
    winner: _Winner
    score: _Score


class _Trace(NamedTuple):
    row: int
    score: float
    model: str
    text: int


def two_runs(one: WorkDir, other: WorkDir) -> TwoRuns:
    """Compare them. Blocks; memory grows with the golden traces. Raises as ``WorkDir``."""
    by_row = one.manifest.input == other.manifest.input
    first, second = _traces(one, by_row=by_row), _traces(other, by_row=by_row)
    keys = [key for key in first if key in second]
    pairs = [(first[key], second[key]) for key in keys]
    same_scorer = one.scorer_name == other.scorer_name
    scores = [[[trace.score] for trace in side] for side in zip(*pairs, strict=True)] if pairs else [[], []]
    apart = sorted(pairs, key=lambda pair: -abs(pair[0].score - pair[1].score))[: LISTED if same_scorer else 0]
    return TwoRuns(
        sides=(_side(one, first), _side(other, second)),
        changed=_changed(one, other),
        by_row=by_row,
        common=len(pairs),
        alike=_alike(one, other) if by_row else None,
        difference=paired_difference(*scores) if same_scorer and len(pairs) > 1 else None,
        same_model=_share(pairs, lambda a, b: a.model == b.model),
        same_trace=_share(pairs, lambda a, b: (a.model, a.text) == (b.model, b.text)),
        apart=[Apart(a.row, _title(one, a.row), a.score, b.score) for a, b in apart if a.score != b.score],
    )


def _traces(work: WorkDir, *, by_row: bool) -> dict[int, _Trace]:
    """The golden traces by row, or by the digest of the question; of equal questions the first."""
    found: dict[int, _Trace] = {}

    def note(done: Done[_Head]) -> None:
        head = done.record
        key = done.row if by_row else xxhash.xxh64_intdigest(head.question.text.encode(errors="surrogatepass"))
        text = xxhash.xxh64_intdigest(head.winner.step_reasoning.encode(errors="surrogatepass"))
        found.setdefault(key, _Trace(done.row, head.score.score, head.winner.m_strong, text))

    work.made(Golden).each_done(_Head, note)
    return found


def _side(work: WorkDir, traces: dict[int, _Trace]) -> Side:
    totals, _ = work.totals()
    cost = sum(spent.cost_usd for spent in work.journal.sums().values())
    scores = [[trace.score] for trace in traces.values()]
    return Side(
        name=name_of(work.folder),
        questions=totals.rows,
        emitted=totals.emitted,
        dropped=sum(totals.dropped.values()),
        failed=sum(totals.failed.values()),
        cost_usd=cost,
        usd_each=cost / totals.emitted if totals.emitted else None,
        score=mean(scores) if len(scores) > 1 else None,
    )


def _changed(one: WorkDir, other: WorkDir) -> list[Changed]:
    shapes = one.manifest.shape, other.manifest.shape
    return [
        Changed(key, *(shown(key, shape[key]) if key in shape else "not set" for shape in shapes))
        for key in differing(*shapes)
    ]


def _alike(one: WorkDir, other: WorkDir) -> Estimate | None:
    fates = [_fates(work) for work in (one, other)]
    both = [[float(a == b)] for a, b in zip(*fates, strict=False) if a and b]
    return proportion(both) if both else None


def _fates(work: WorkDir) -> bytes:
    """By row: 1 if it was emitted, 2 if it was dropped, 0 if neither."""
    ledgers = [work.steps[step] for step in work.through]
    length = max((len(ledger.numbers) for ledger in ledgers), default=0)
    fates = bytearray(length)
    for row, done in enumerate(ledgers[-1].are(RowStatus.DONE)):
        fates[row] = done
    for ledger in ledgers:
        for row, dropped in enumerate(ledger.are(RowStatus.DROPPED)):
            if dropped:
                fates[row] = 2
    return bytes(fates)


def _share(pairs: list[tuple[_Trace, _Trace]], agrees: Callable[[_Trace, _Trace], bool]) -> Estimate | None:
    return proportion([[float(agrees(a, b))] for a, b in pairs]) if pairs else None


def _title(work: WorkDir, row: int) -> str:
    outcome = work.made(Golden).read(row)
    return title(outcome.record.title, 140) if isinstance(outcome, Done) else ""
