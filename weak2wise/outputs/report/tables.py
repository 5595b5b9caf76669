"""The report's tables: tokens, the slowest questions, the failed ones, the settings."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from weak2wise.dataset import read_values, unreadable_advice
from weak2wise.digests import digest
from weak2wise.errors import ConfigError
from weak2wise.ledger.outcomes import Done, RowStatus
from weak2wise.outputs.provenance import shares
from weak2wise.outputs.reasons import failed_in_words, in_words
from weak2wise.outputs.report.facts import LISTED, Facts
from weak2wise.outputs.report.text import line, title
from weak2wise.outputs.work_dir import WorkDir


def table(
    name: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 0, words: int = 0, cards: bool = True
) -> str:
    """A table; cells are HTML. The first ``names`` columns may be long, then ``words`` text columns, then numbers.

    ``cards``: on a phone each row is a card that names its facts, so that none is out of sight. The roles keep it a
    table for a screen reader.
    """
    kind = [" class=name"] * names + [""] * words + [" class=n"] * (len(head) - names - words)
    labels = [f' role=cell data-head="{h}"' if h else " role=cell" for h in head]
    top = "".join(f"<th role=columnheader scope=col{k}>{h}</th>" for h, k in zip(head, kind, strict=True))
    body = "".join(
        "<tr role=row>"
        + "".join(f"<td{k}{label}>{cell}</td>" for cell, k, label in zip(row, kind, labels, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll{" cards" if cards else ""}" tabindex="0" role="region" aria-label="{line(name)}">'
        f"<table role=table><thead role=rowgroup><tr role=row>{top}</tr></thead>"
        f"<tbody role=rowgroup>{body}</tbody></table></div>"
    )


def tokens(work: WorkDir, facts: Facts) -> str:
    """Tokens by role and model."""
    if not facts.spent:
        return ""
    emitted = facts.totals.emitted
    paid = any(spent.cost_usd for spent in facts.spent.values())
    roles = list(work.models)
    rows = []
    # First the roles in the settings, then those of earlier settings.
    for role, endpoint in sorted(facts.spent, key=lambda by: roles.index(by[0]) if by[0] in roles else len(roles)):
        spent = facts.spent[role, endpoint]
        numbers = (spent.calls, spent.prompt_tokens, spent.cached_tokens, spent.completion_tokens)
        cells = [line(role), line(work.model_of(endpoint)), *(f"{n:,}" for n in numbers)]
        cells.append(f"{spent.completion_tokens / emitted:,.0f}" if emitted else "–")
        if paid:
            cells += [f"{spent.cost_usd:,.4f}", f"{spent.cost_usd / emitted:,.5f}" if emitted else "–"]
        rows.append(cells)
    columns = ["role", "model", "calls", "prompt tokens", "cached", "answer tokens", "answer tokens a row emitted"]
    text = "As the endpoints reported them, all runs of this work_dir together"
    if estimated := sum(spent.estimated for spent in facts.spent.values()):
        text += f"; for {estimated:,} answers, which had no token counts or broke off, they are estimated"
    text += "."
    if paid:
        columns += ["US dollars", "US dollars a row emitted"]
        cost = sum(spent.cost_usd for spent in facts.spent.values())
        text += f" They cost {_amount(cost)} US dollars"
        text += f", {cost / emitted:,.4f} a row emitted" if emitted else ""
        wasted = sum(spent.wasted_usd for spent in facts.spent.values())
        text += f"; {_amount(wasted)} of that was for answers that could not be used." if wasted else "."
    return f"<section><h2>Tokens</h2><p>{text}</p>{table('Tokens', columns, rows, names=2)}</section>"


def _amount(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 1 else f"{usd:,.4f}"


def slowest(work: WorkDir, facts: Facts) -> str:
    """The questions that took longest."""
    rows = facts.slowest()
    if not rows:
        return ""
    listed = [
        [
            f"{row:,}",
            title(_title(work, row), 110),
            f"{facts.seconds[row]:,.1f}",
            f"{facts.tokens[row] if row < len(facts.tokens) else 0:,}",
        ]
        for row in rows
    ]
    return (
        "<section><h2>Slowest questions</h2><p>Seconds in all stages together, waiting for endpoints included.</p>"
        f"{table('Slowest questions', ['row', 'question', 'seconds', 'answer tokens'], listed, words=2)}</section>"
    )


def _title(work: WorkDir, row: int) -> str:
    for ledger in work.steps.values():
        if ledger.status(row) is RowStatus.DONE:
            outcome = ledger.read(row)
            assert isinstance(outcome, Done)
            return str(outcome.record.title)
    return ""


def failed(work: WorkDir, facts: Facts) -> str:
    """The failures by kind and by question, and advice."""
    total = sum(facts.totals.failed.values())
    if not total:
        return ""
    kinds = "".join(f"<li>{line(failed_in_words(kind))}: {count:,}</li>" for kind, count in facts.totals.failed.items())
    rows = [
        [f"{f.row:,}", title(f.title or "–", 80), line(failed_in_words(f"{f.stage}/{f.kind}")), line(f.message, 240)]
        for f in facts.failures
    ]
    unreadable = facts.totals.unreadable
    others = "them" if not unreadable else "the others"
    again = f"The next run tries {others} again, and <code>retry-failed</code> tries nothing else."
    if unreadable:
        advice = line(f"{unreadable_advice(unreadable, Path('failed.jsonl'), Path(work.history.input or ''))}.", 400)
        again = advice if unreadable == total else f"{advice} {again}"
    more = f"<p>The first {LISTED}; all are in failed.jsonl.</p>" if total > len(rows) else ""
    return (
        f"<section><h2>Failed questions</h2><ul class=lists>{kinds}</ul><p>{again}</p>"
        f"{table('Failed questions', ['row', 'question', 'what failed', 'message'], rows, words=4)}{more}</section>"
    )


def dropped(work: WorkDir, facts: Facts) -> str:
    """The dropped questions by reason, and the first of them."""
    total = sum(facts.totals.dropped.values())
    if not total:
        return ""
    reasons = "".join(f"<li>{line(in_words(why))}: {count:,}</li>" for why, count in facts.totals.dropped.items())
    asked = _questions(work, [drop.row for drop in facts.drops])
    rows = [
        [
            f"{drop.row:,}",
            title(asked.get(drop.row) or _title(work, drop.row) or "–", 80),
            line(in_words(drop.reason) + (f": {drop.detail}" if drop.detail else ""), 240),
        ]
        for drop in facts.drops
    ]
    more = f"<p>The first {LISTED} of {total:,}.</p>" if total > len(rows) else ""
    return (
        f"<section><h2>Dropped questions</h2><ul class=lists>{reasons}</ul>"
        f"<details><summary>Which ones</summary>"
        f"{table('Dropped questions', ['row', 'question', 'why'], rows, words=3)}{more}</details></section>"
    )


def _questions(work: WorkDir, rows: Sequence[int]) -> dict[int, str]:
    """The questions of these rows of the input; those that were not begun have none. Nothing if it is not there."""
    found: dict[int, str] = {}
    wanted = set(rows)
    with suppress(ConfigError):
        for row, value in read_values(
            work.input_path(), work.manifest.shape.get("dataset.columns.question", "question")
        ):
            if row in wanted:
                found[row] = str(msgspec.json.decode(value))
                if len(found) == len(wanted):
                    break
    return found


def _changed(work: WorkDir) -> str:
    """The rows by value of each setting that has changed; empty if none has."""
    found = shares(work)
    if not found:
        return ""
    rows = [
        [f"<code>{line(s.key)}</code>", line(s.step), line(s.shown, 300) + (" (now)" if s.now else ""), f"{s.rows:,}"]
        for s in found
    ]
    return (
        "<section><h2>Settings that changed</h2><p>The run went on with other settings (<code>--resume force</code>): "
        "the numbers above are about all rows together, those below say which value made how many.</p>"
        f"{table('Settings that changed', ['setting', 'step', 'value', 'rows that it made'], rows, words=3)}</section>"
    )


def settings(work: WorkDir) -> str:
    """The settings that results depend on."""
    shape = work.manifest.shape
    texts = {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in shape.items()
    }
    rows = [[f"<code>{line(key)}</code>", line(text, 300)] for key, text in sorted(texts.items())]
    return _changed(work) + (
        f"<details><summary>Settings that affect results (digest <code>{digest(shape)}</code>)</summary>"
        f"{table('Settings', ['key', 'value or digest'], rows, words=2)}</details>"
    )
