"""The run in a terminal: a few tables, redrawn every two seconds.

They fit the terminal. A narrow one gets fewer columns, then shorter names, but never shorter numbers. One with few
lines gets fewer endpoints.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import IO, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import QueuedStream
from weak2wise.watch.board import Board, EndpointFacts, Observed

EVERY = 2.0
"""Seconds between two redraws. One takes about 5 ms of CPU."""
SHORTEST_NAME = 12
_GAP = 2


@asynccontextmanager
async def on_screen(observer: "asyncio.Future[Observed]", console: Console) -> AsyncIterator[None]:
    """Show the run on ``console`` while the context is open. Other printed lines scroll above it.

    If the terminal is closed, drawing stops and the run goes on. While it is not read, nothing is drawn.
    """
    stream = console.file
    waiting = Text("Opening ledgers and endpoints; an embedded engine takes half a minute or more …", style="dim")
    live = Live(waiting, console=console, auto_refresh=False, transient=True)
    with suppress(OSError):
        live.start(refresh=True)
    showing = asyncio.create_task(_show(observer, live, stream))
    try:
        yield
    finally:
        showing.cancel()
        _stop(live)


async def _show(observer: "asyncio.Future[Observed]", live: Live, stream: IO[str]) -> None:
    found = await asyncio.shield(observer)
    try:
        while True:
            if not (isinstance(stream, QueuedStream) and stream.is_behind):
                live.update(Picture(found.board()), refresh=True)
            await asyncio.sleep(EVERY)
    except OSError:
        _stop(live)


def _stop(live: Live) -> None:
    """Release standard error, even if its terminal is closed."""
    with suppress(OSError):
        live.stop()


class Picture:
    """The whole board, fitted to the width and height of the terminal."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        board, width = self._board, options.max_width
        yield _stages(board, width)
        if board.bottleneck:
            yield Text(f"The other stages wait for {board.bottleneck}.", style="bold")
        yield Text()
        if board.endpoints:
            held = [e for e in board.endpoints if e.held_until]
            fixed = len(board.stages) + len(board.engines) + len(held) + 7
            shown, unshown = _busiest(board.endpoints, max(1, console.height - fixed))
            yield _endpoints(shown, width)
            for e in held:
                until = f"{e.held_until:%a %H:%M} UTC"
                yield Text(f"{_short(e.name, width - 45)}: {e.held:,} calls wait for off-peak hours, {until}")
            if unshown:
                yield Text(f"and {unshown:,} more endpoints, less busy", style="dim")
        for engine in board.engines:
            facts = (
                f": {engine.running:,} of {engine.room:,} attempts running, {engine.waiting:,} waiting; "
                f"{engine.tokens_per_second:,.0f} tokens/s; {engine.cached:.0%} cached"
            )
            yield Text(_short(engine.name, width - len(facts)) + facts)
        if board.endpoints or board.engines:
            yield Text()
        yield _whole(board, width)


def _busiest(endpoints: Sequence[EndpointFacts], room: int) -> tuple[list[EndpointFacts], int]:
    """The busiest endpoints that there is room for, in their order, and the number left out."""
    if len(endpoints) <= room:
        return list(endpoints), 0
    busiest = sorted(endpoints, key=lambda e: (-e.in_flight, -e.per_minute))[: max(1, room - 1)]
    return [e for e in endpoints if e in busiest], len(endpoints) - len(busiest)


class _Column(NamedTuple):
    """``rank``: if there is no room, columns with the highest rank are removed first; those with 0 never."""

    head: str
    rank: int
    cells: list[Text]


def _table(column: str, names: Sequence[Text], columns: Sequence[_Column], width: int) -> Table:
    """A table of names and numbers that fits ``width``, if its shortest form does."""
    longest = max(len(column), *(len(name) for name in names))
    widths = {c.head: max(len(c.head), *(len(cell) for cell in c.cells)) for c in columns}
    kept = list(columns)
    while True:
        room = width - sum(widths[c.head] + _GAP for c in kept)
        if room >= min(longest, SHORTEST_NAME) or not any(c.rank for c in kept):
            break
        kept.remove(max(kept, key=lambda c: c.rank))
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold", pad_edge=False)
    table.add_column(column, no_wrap=True)
    for c in kept:
        table.add_column(c.head, justify="right", no_wrap=True)
    for at, name in enumerate(names):
        table.add_row(Text(_short(name.plain, room), style=name.style), *(c.cells[at] for c in kept))
    return table


def _short(name: str, room: int) -> str:
    """Cut the middle of a long name: names often differ at the end."""
    name, room = plain(name), max(room, SHORTEST_NAME)
    return name if len(name) <= room else f"{name[: room // 2]}…{name[len(name) - (room - room // 2 - 1) :]}"


def _numbers(values: Sequence[float], style: str = "") -> list[Text]:
    return [Text(f"{value:,.0f}", style=style if value else "") for value in values]


def _stages(board: Board, width: int) -> Table:
    stages = board.stages
    names = [Text(s.name, style="bold reverse" if s.name == board.bottleneck else "") for s in stages]
    columns = [
        _Column("done", 0, _numbers([s.done for s in stages])),
        _Column("active", 2, _numbers([s.busy for s in stages])),
        _Column("waiting", 1, _numbers([s.waiting for s in stages])),
        _Column("dropped", 0, _numbers([s.dropped for s in stages])),
        _Column("failed", 0, _numbers([s.failed for s in stages], "red")),
        _Column("/min", 3, _numbers([s.per_minute for s in stages])),
    ]
    return _table("stage", names, columns, width)


def _endpoints(endpoints: Sequence[EndpointFacts], width: int) -> Table:
    limited = [e.faults.get("rate_limited", 0) for e in endpoints]
    errors = [sum(e.faults.values()) - count for e, count in zip(endpoints, limited, strict=True)]
    columns = [
        _Column("active", 0, _numbers([e.in_flight for e in endpoints])),
        _Column("limit", 3, [Text(_limit(e)) for e in endpoints]),
        _Column("calls/min", 1, _numbers([e.per_minute for e in endpoints])),
        _Column("tokens/min", 4, _numbers([e.tokens_per_minute for e in endpoints])),
        _Column("429s", 2, _numbers(limited, "yellow")),
        _Column("errors", 0, _numbers(errors, "red")),
    ]
    if any(e.cost_usd for e in endpoints):
        columns.append(_Column("cost", 0, [Text(f"${e.cost_usd:,.2f}" if e.cost_usd else "–") for e in endpoints]))
    return _table("endpoint", [Text(e.name) for e in endpoints], columns, width)


def _limit(endpoint: EndpointFacts) -> str:
    """What limits requests: the number in flight, or the rate."""
    return f"{endpoint.limit:,}" if endpoint.paced is None else f"≤{endpoint.paced:,.0f}/min"


def _whole(board: Board, width: int) -> Table:
    took = timedelta(seconds=round(board.seconds))
    left = "" if board.seconds_left is None else f", about {timedelta(seconds=round(board.seconds_left))} left"
    of = "" if board.rows is None else f" of {board.rows:,}"
    cost = f", ${board.cost_usd:,.2f}" if board.cost_usd else ""
    again = f"; {board.owed_again:,} failed earlier, to be tried again" if board.owed_again else ""
    text = Text(f"{board.ended:,}{of} questions ended; {took}{left}{cost}{again}")
    room = min(24, width - len(text) - 3)  # room for the terminal's ^C, so that the line does not wrap
    line = Table.grid(padding=(0, 1))
    if room < 8:
        line.add_row(text)
    else:
        bar = ProgressBar(total=board.rows or 1, completed=min(board.ended, board.rows or 1), width=room)
        line.add_row(bar, text)
    return line
