"""All golden traces of a run by pages, in one file of bounded size.

A page is a part of the file that opens by itself: there is no script. A run may have more traces than any browser could
show. Then the file has as many as fit, spread evenly from the best score to the worst, and says so; any other ones can
be asked for by their ranks.
"""

import operator
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from weak2wise.ledger.outcomes import Done, RowStatus
from weak2wise.outputs.report.facts import Facts
from weak2wise.outputs.report.traces import trace
from weak2wise.outputs.work_dir import WorkDir
from workers.records import Golden, Scored

MOST_BYTES = 4 << 20
"""Of all traces in a file."""
MOST = 2000
"""Traces in a file: so many are looked at, however short they are."""
PAGE = 25
"""Traces of a page."""


def pages(work: WorkDir, facts: Facts, ranks: range | None) -> Iterator[str]:
    """The section of golden traces; ``ranks``: only these, from 0 (the best score). Blocks; raises as ``WorkDir``."""
    total = len(facts.rows)
    wanted = range(total) if ranks is None else ranks[: max(0, total - ranks.start)]
    chosen = list(islice((wanted[place] for place in evenly(len(wanted))), MOST))
    drawn = _fitting(work, zip(chosen, rows_at(facts, chosen), strict=True))
    shown = sorted(drawn)
    yield f"<section><h2>Golden traces</h2><p>{_said(shown, wanted, total)}</p>"
    ranked = sorted(facts.scores, reverse=True)
    best = [ranked[rank] for rank in shown]
    del ranked
    for first in range(0, len(shown), PAGE):
        part = shown[first : first + PAGE]
        of = f"{part[0] + 1:,} to {part[-1] + 1:,}" if len(part) > 1 else f"{part[0] + 1:,}"
        scores = f"{best[first]:.3f} to {best[first + len(part) - 1]:.3f}"
        state = " open" if first == 0 else ""
        yield f'<details class="page" name="page"{state}><summary>Rank {of}, scores {scores}</summary>'
        for rank in part:
            yield drawn.pop(rank).decode()
        yield "</details>"
    yield "</section>"


def _said(shown: Sequence[int], wanted: range, total: int) -> str:
    which = f"all {total:,}"
    if len(wanted) < total:
        which = f"ranks {wanted.start + 1:,} to {wanted.stop:,} of {total:,}"
    if len(shown) == len(wanted):
        return f"{which[0].upper()}{which[1:]}, from the best score to the worst."
    return (
        f"{len(shown):,} of {which}, evenly from the best score to the worst: as many as fit into a file that a "
        f"browser opens well ({MOST_BYTES >> 20} MiB of traces, at most {MOST:,}). "
        "<code>report --traces FIRST-LAST</code> shows others by their ranks, best first."
    )


def _fitting(work: WorkDir, ranked: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    """Each trace by its rank, until they are too many bytes; ``ranked``: ranks and rows."""
    drawn: dict[int, bytes] = {}
    left = MOST_BYTES
    for rank, row in ranked:
        made = _trace(work, row).encode()
        left -= len(made)
        if left < 0 and drawn:
            break
        drawn[rank] = made
    return drawn


def _trace(work: WorkDir, row: int) -> str:
    golden, scored = work.made(Golden).read(row), None
    assert isinstance(golden, Done)
    if work.made(Scored).status(row) is RowStatus.DONE:
        scored = work.made(Scored).read(row)
    return trace(golden.record, scored.record if isinstance(scored, Done) else None, work.scorer)


def evenly(count: int) -> Iterator[int]:
    """The numbers below ``count``, each once, so that what came so far is spread nearly evenly wherever one stops.

    First the two ends, then what halves the gaps.
    """
    if count:
        yield 0
    if count > 1:
        yield count - 1
    bits = max(0, (count - 2).bit_length())
    for place in range(1 << bits if count > 2 else 0):
        number = int(f"{place:0{bits}b}"[::-1], 2) if bits else 0
        if number < count - 2:
            yield 1 + number


def rows_at(facts: Facts, ranks: Sequence[int]) -> list[int]:
    """The row of the golden trace at each rank. Equal scores are in the order of their rows.

    Nothing is kept for every row but its score.
    """
    ranked = sorted(facts.scores, reverse=True)
    scores = [ranked[rank] for rank in ranks]
    better = {score: bisect_left(ranked, -score, key=operator.neg) for score in scores}
    del ranked
    alike = {score: array("I") for score in scores}
    for row, score in zip(facts.rows, facts.scores, strict=True):
        if score in alike:
            alike[score].append(row)
    in_order = {score: array("I", sorted(rows)) for score, rows in alike.items()}
    return [in_order[score][rank - better[score]] for rank, score in zip(ranks, scores, strict=True)]
