"""Golden traces for the page: a list that is filtered, sorted, searched and paged, and each trace with its hints."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from weak2wise.ledger.outcomes import Done, Ledger, RowStatus
from weak2wise.outputs.report import charts, spread
from weak2wise.outputs.report.text import line, prose, title
from weak2wise.outputs.report.traces import evidence, opened
from workers.records import Golden, Scored
from workers.rules import RULES
from workers.scorers import Scorer, score_text
from workers.scorers.masking import hint

Sort = Literal["newest", "oldest", "best", "worst"]
PAGE = 20
"""Traces on one page of the list."""
SEARCHED = 2000
"""Traces that one request reads at most: a search goes on with the next request."""
_FEW = 1000
"""So many new traces are read one by one; for more, the ledger is read from its beginning."""


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What to list. ``model``: the endpoint of a strong model; ``search``: a part of question, answer or trace.

    ``after``: how many places of the order were looked at before.
    """

    sort: Sort = "newest"
    model: str = ""
    search: Annotated[str, Meta(max_length=500)] = ""
    after: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0


class Found(Struct, frozen=True):
    """A page of the list: row, title and facts of each trace, the texts as escaped HTML.

    ``total``: traces of this model. ``after``: where the next page goes on; ``None``: there is none. ``scores``: those
    of all traces that can be listed.
    """

    traces: list[dict[str, object]]
    total: int
    after: int | None
    models: list[str]
    scores: "Scores"


class Scores(Struct, frozen=True):
    """How many traces have a score in each of several ranges of equal width, from ``low`` to ``high``."""

    counts: list[int]
    low: float
    high: float


class _Score(Struct):
    score: float


class _Winner(Struct):
    m_strong: str


class _Head(Struct):
    """The parts of a golden trace that it is listed by."""

    winner: _Winner
    score: _Score


@dataclass
class Table:
    """Score and strong model of each trace, in the order in which they were made; thirteen bytes a trace."""

    rows: "array[int]" = field(default_factory=lambda: array("I"))
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    models: "array[int]" = field(default_factory=lambda: array("H"))
    names: list[str] = field(default_factory=list)
    _known: bytearray = field(default_factory=bytearray)

    def follow(self, ledger: Ledger[Golden]) -> None:
        """Add the traces that the ledger has and this table has not. Blocks; raises as ``Ledger.read``."""
        done = ledger.are(RowStatus.DONE)
        new = [row for row in compress(ledger.rows(), done) if not self._knows(row)]
        if len(new) <= _FEW:
            self.add(ledger, new)
            return
        ledger.each_done(_Head, self._note)

    def add(self, ledger: Ledger[Golden], rows: Iterable[int]) -> None:
        """Add the traces of these rows, unless they are here. Blocks; raises as ``Ledger.read``."""
        for row in rows:
            if not self._knows(row) and (golden := golden_of(ledger, row)):
                self._add(row, _Head(_Winner(golden.winner.m_strong), _Score(golden.score.score)))

    def only(self, rows: Iterable[int]) -> "Table":
        """The table of those of these rows that are here, in this order."""
        place = {row: at for at, row in enumerate(self.rows)}
        table = Table()
        for at in (place[row] for row in rows if row in place):
            table._add(self.rows[at], _Head(_Winner(self.names[self.models[at]]), _Score(self.scores[at])))
        return table

    def _note(self, done: Done[_Head]) -> None:
        if not self._knows(done.row):
            self._add(done.row, done.record)

    def _knows(self, row: int) -> bool:
        return row < len(self._known) and self._known[row] == 1

    def _add(self, row: int, head: _Head) -> None:
        name = head.winner.m_strong
        if name not in self.names:
            self.names.append(name)
        self.rows.append(row)
        self.scores.append(head.score.score)
        self.models.append(self.names.index(name))
        if row >= len(self._known):
            self._known.extend(bytes(row + 1024 - len(self._known)))
        self._known[row] = 1

    def order(self, wanted: Wanted) -> list[int]:
        """The places in this table of the traces of the wanted model, in the wanted order."""
        places: Iterable[int] = range(len(self.rows))
        if wanted.model:
            number = self.names.index(wanted.model) if wanted.model in self.names else -1
            places = [place for place in places if self.models[place] == number]
        match wanted.sort:
            case "newest":
                return list(places)[::-1]
            case "best":
                return sorted(places, key=self.scores.__getitem__, reverse=True)
            case "worst":
                return sorted(places, key=self.scores.__getitem__)
        return list(places)


class Source(NamedTuple):
    """Where a run's traces are read from, and what says how its scores are to be read."""

    golden: Ledger[Golden]
    scored: Ledger[Scored]
    scorer: type[Scorer]
    rules: int = RULES


def found(table: Table, source: Source, wanted: Wanted) -> Found:
    """A page of the list. Blocks; raises as ``Ledger.read``."""
    order = table.order(wanted)
    places = order[wanted.after :]
    traces: list[dict[str, object]] = []
    looked = 0
    for place in places:
        if len(traces) == PAGE or looked == SEARCHED:
            break
        looked += 1
        golden = golden_of(source.golden, table.rows[place])
        if golden and _matches(golden, wanted.search):
            traces.append(entry(golden, source.scorer))
    after = wanted.after + looked
    return Found(traces, len(order), after if after < len(order) else None, sorted(table.names), scores_of(table))


def scores_of(table: Table) -> Scores:
    """How the scores of the traces are spread."""
    if not table.scores:
        return Scores([], 0.0, 0.0)
    (counts,), edges = spread.even((table.scores,))
    return Scores(counts, edges[0].at, edges[-1].at)


def _matches(golden: Golden, search: str) -> bool:
    wanted = search.casefold()
    texts = (golden.question.text, golden.question.answer, golden.truncated)
    return not wanted or any(wanted in text.casefold() for text in texts)


def opened_trace(source: Source, row: int) -> str | None:
    """The content of an expanded trace as escaped HTML; ``None`` if the row has no golden trace. Blocks."""
    if not (golden := golden_of(source.golden, row)):
        return None
    scored = source.scored.read(row) if source.scored.status(row) is RowStatus.DONE else None
    record = scored.record if isinstance(scored, Done) else None
    return shown(golden, record, source.scorer, source.rules)


def shown(golden: Golden, scored: Scored | None, scorer: type[Scorer], rules: int = RULES) -> str:
    """An expanded trace: as the report has it, and its winner as the weak LLM saw it."""
    steps, levels = golden.winner.step_list, len(golden.score.s_list)
    hints = [
        f'<details class="hint"><summary>{charts.cells((bit,))} mask level {level} of {levels}: '
        f"{'the weak LLM reaches the answer' if bit else 'it does not'}</summary>"
        f'<div class="text" dir="auto">{prose(hint(steps, level, levels, rules), 6000)}</div></details>'
        for level, bit in enumerate(golden.score.s_list)
    ]
    seen = f"<h3>The winner as the weak LLM saw it</h3>{''.join(hints)}" if golden.score.is_masked else ""
    return opened(golden, scored, scorer) + seen


def entry(golden: Golden, scorer: type[Scorer]) -> dict[str, object]:
    """A trace in the list; its texts are escaped HTML."""
    facts = f"{evidence(golden.score, scorer)} {score_text(golden.score)} · {line(golden.winner.m_strong, 40)}"
    return {"row": golden.row, "title": title(golden.title, 140), "facts": f"{facts} · row {golden.row:,}"}


def golden_of(ledger: Ledger[Golden], row: int) -> Golden | None:
    """The row's golden trace, if it has one. Blocks; raises as ``Ledger.read``."""
    if ledger.status(row) is not RowStatus.DONE:
        return None
    outcome = ledger.read(row)
    return outcome.record if isinstance(outcome, Done) else None


def wanted_of(query: Iterable[tuple[str, str]]) -> Wanted:
    """What a request asks for. Raises ``msgspec.ValidationError`` if that is nothing that can be listed."""
    return msgspec.convert(dict(query), type=Wanted, strict=False)
