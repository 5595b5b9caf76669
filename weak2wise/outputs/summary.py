"""The summary of a run: its input, its output, calls, tokens and costs."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weak2wise.ledger.account import Totals
from weak2wise.outputs.reasons import failed_in_words, in_words


class RoleUse(Struct, frozen=True, kw_only=True):
    """What one role used on one endpoint over all starts of the work_dir.

    ``estimated``: answers whose tokens were not reported. ``wasted_usd``: the part of the cost for unusable answers.
    """

    role: str
    endpoint: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float
    estimated: int
    wasted_usd: float


class EndpointUse(Struct, frozen=True, kw_only=True):
    """The requests of one endpoint: sent, answered, and faults by kind."""

    endpoint: str
    sent: int
    answered: int
    faults: dict[str, int]


class ThisStart(Struct, frozen=True, kw_only=True):
    """Counts from one start of the engine to its end. They are stored only here."""

    seconds: float
    replayed: dict[str, int]
    """Answers that came from the journal, by role."""
    endpoints: list[EndpointUse]
    verdicts: dict[str, int]
    """Counted by what decided them."""
    cuts: dict[str, int]
    """Counted by what made them. Also: tokens ``written`` by the truncation model, ``characters`` of that text, and
    characters of the traces that were ``kept``."""
    bits: dict[str, int]
    """Step-Mask's bits: asked, spared by racing, asked but not needed (``in_vain``), hint too long for the weak LLM."""
    torn: dict[str, int] = {}
    """Bytes of torn ends that were cut off the ledgers at the start, by file."""


class Summary(Struct, frozen=True, kw_only=True):
    """Written to ``summary.json`` and printed. All but ``this_start`` counts all starts together.

    ``shortfalls``: what the last start did not achieve, in sentences; it then ends with exit code 1. ``warnings``: what
    is suspicious about the results. ``shared_usd``: the part of the cost that was paid in the run which this one was
    forked from.
    """

    totals: Totals
    through: str
    roles: list[RoleUse]
    output: str
    this_start: ThisStart | None
    shortfalls: list[str] = []
    warnings: list[str] = []
    shared_usd: float = 0.0


_BITS = {"in_vain": "wasted"}
"""Words for what the summary counts under another name."""


def show(summary: Summary, console: Console) -> None:
    """Print a summary as tables."""
    totals = summary.totals
    facts: list[tuple[str, Any]] = [
        ("questions", totals.rows),
        *((f"dropped: {in_words(reason)}", count) for reason, count in totals.dropped.items()),
        *((f"failed: {failed_in_words(kind)}", count) for kind, count in totals.failed.items()),
        (f"emitted ({summary.through})", totals.emitted),
    ]
    if totals.unfinished:
        facts.append(("unfinished", totals.unfinished))
    balance = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in facts:
        balance.add_row(Text(name), Text(f"{value:,}"))
    console.print(balance)
    use = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("role", "endpoint", "calls", "prompt tokens", "cached", "answer tokens"):
        use.add_column(column, justify="left" if column in {"role", "endpoint"} else "right")
    for r in summary.roles:
        numbers = (r.calls, r.prompt_tokens, r.cached_tokens, r.completion_tokens)
        use.add_row(Text(r.role), Text(r.endpoint), *(f"{n:,}" for n in numbers))
    console.print(use)
    cost, wasted = sum(r.cost_usd for r in summary.roles), sum(r.wasted_usd for r in summary.roles)
    if cost:
        more = f", {wasted:,.4f} of them for answers that could not be used" if wasted else ""
        if summary.shared_usd:
            more += f", {summary.shared_usd:,.4f} of them paid in the run that this one was forked from"
        console.print(Text(f"cost: {cost:,.4f} US dollars{more}"))
    if estimated := sum(r.estimated for r in summary.roles):
        console.print(Text(f"tokens of {estimated:,} answers are estimated: their endpoints reported none"))
    for line in _of_this_start(summary.this_start) if summary.this_start else ():
        console.print(Text(line))
    console.print(Text(summary.output), soft_wrap=True)  # a path is copied: it stays whole


def _of_this_start(start: ThisStart) -> Iterator[str]:
    replayed = sum(start.replayed.values())
    yield f"this start: {start.seconds:,.1f} s" + (f", {replayed:,} answers from the journal" if replayed else "")
    for file, size in start.torn.items():
        yield f"  cut off ledger/{file}: an unfinished last line of {size:,} bytes, whose work was done again"
    yield from (f"  {line}" for line in _counters(start))


def _counters(start: ThisStart) -> Iterator[str]:
    """Lines about faults, verdicts, bits and cuts, where there were any."""
    for e in start.endpoints:
        if e.faults:
            faults = ", ".join(f"{count:,} {kind}" for kind, count in e.faults.items())
            yield f"{e.endpoint}: {e.sent:,} requests, {e.answered:,} answered, faults: {faults}"
    if start.verdicts:
        yield "verdicts: " + ", ".join(f"{n:,} by {by}" for by, n in start.verdicts.items())
    if bits := [f"{count:,} {_BITS.get(what, what.replace('_', ' '))}" for what, count in start.bits.items() if count]:
        yield "Step-Mask bits: " + ", ".join(bits)
    sizes = ("written", "characters", "kept")
    if cuts := [f"{count:,} by {by}" for by, count in start.cuts.items() if by not in sizes]:
        written, characters, kept = (start.cuts.get(name, 0) for name in sizes)
        copied = f", about {kept * written / characters:,.0f} if it had copied them" if characters else ""
        yield "cuts: " + ", ".join(cuts) + (f"; the model wrote {written:,} tokens{copied}" if written else "")
