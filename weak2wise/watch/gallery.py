"""The newest golden traces for the page: a list, and each trace with its masked hints."""

import asyncio
from typing import Any

from weak2wise.ledger.outcomes import Done, RowStatus
from weak2wise.outputs.report import charts
from weak2wise.outputs.report.text import line, prose, title
from weak2wise.outputs.report.traces import evidence, opened
from weak2wise.pipeline import Stage
from weak2wise.watch.board import Observed
from workers.method import step_making
from workers.records import Golden, Scored
from workers.rules import RULES
from workers.scorers import Scorer, score_text
from workers.scorers.masking import hint


class Newest:
    """The newest golden traces of a run; each is read from the ledger once."""

    def __init__(self) -> None:
        self._entries: dict[int, dict[str, object]] = {}

    async def entries(self, observer: Observed) -> list[dict[str, object]]:
        """Row, title and facts of each trace, newest first. Texts are escaped HTML."""
        stage = _stage(observer, Golden)
        rows = list(reversed(stage.latest)) if stage else []
        for row in rows:
            if stage and row not in self._entries and (found := await _golden(stage, row)):
                self._entries[row] = _entry(found, observer.scorer)
        self._entries = {row: self._entries[row] for row in rows if row in self._entries}
        return list(self._entries.values())


async def opened_trace(observer: Observed, row: int) -> str | None:
    """The content of an expanded trace as escaped HTML; ``None`` if the row has no golden trace.

    The row may no longer be among the newest: the reader's list may be older.
    """
    select, scores = _stage(observer, Golden), _stage(observer, Scored)
    if select is None or scores is None or select.ledger.status(row) is not RowStatus.DONE:
        return None
    if not (golden := await _golden(select, row)):
        return None
    scored = await scores.ledger.fetch(row)
    record: Scored | None = scored.record if isinstance(scored, Done) else None
    return await asyncio.to_thread(_shown, golden, record, observer.scorer, observer.rules)


def _shown(golden: Golden, scored: Scored | None, scorer: type[Scorer], rules: int = RULES) -> str:
    steps, levels = golden.winner.step_list, len(golden.score.s_list)
    hints = [
        f'<details class="hint"><summary>{charts.cells((bit,))} mask level {level} of {levels}: '
        f"{'the weak LLM reaches the answer' if bit else 'it does not'}</summary>"
        f'<div class="text" dir="auto">{prose(hint(steps, level, levels, rules), 6000)}</div></details>'
        for level, bit in enumerate(golden.score.s_list)
    ]
    seen = f"<h3>The winner as the weak LLM saw it</h3>{''.join(hints)}" if golden.score.is_masked else ""
    return opened(golden, scored, scorer) + seen


def _entry(golden: Golden, scorer: type[Scorer]) -> dict[str, object]:
    facts = f"{evidence(golden.score, scorer)} {score_text(golden.score)} · {line(golden.winner.m_strong, 40)}"
    return {"row": golden.row, "title": title(golden.title, 140), "facts": facts}


def _stage(observer: Observed, record: type[Any]) -> Stage[Any] | None:
    """The stage that makes these records; ``None`` if the run stops at an earlier step."""
    name = step_making(record).name
    return next((stage for stage in observer.stages if stage.name == name), None)


async def _golden(stage: Stage[Any], row: int) -> Golden | None:
    outcome = await stage.ledger.fetch(row)
    return outcome.record if isinstance(outcome, Done) and isinstance(outcome.record, Golden) else None
