"""The run in a terminal: a few tables, drawn anew every other second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from weak2wise.telemetry.plain import plain
from weak2wise.watch.board import Board, Observer

EVERY = 2.0
"""Seconds between two drawings; one takes some 5 ms of CPU."""


@asynccontextmanager
async def on_screen(observer: "asyncio.Future[Observer]", console: Console) -> AsyncIterator[None]:
    """Show the run on ``console`` as long as the context is open; what is printed meanwhile scrolls above it."""
    waiting = Text("Opening ledgers and endpoints; an embedded engine takes half a minute or more …", style="dim")
    with Live(waiting, console=console, auto_refresh=False, transient=True) as live:
        showing = asyncio.create_task(_show(observer, live))
        try:
            yield
        finally:
            showing.cancel()


async def _show(observer: "asyncio.Future[Observer]", live: Live) -> None:
    found = await asyncio.shield(observer)
    while True:
        live.update(draw(found.board()), refresh=True)
        await asyncio.sleep(EVERY)


def draw(board: Board) -> RenderableType:
    """The whole picture."""
    parts: list[RenderableType] = [_stages(board)]
    if board.endpoints:
        parts += [Text(), _endpoints(board)]
    parts += [
        Text(
            f"{plain(engine.name)}: {engine.running:,} of {engine.room:,} attempts inside, {engine.waiting:,} waiting; "
            f"{engine.tokens_per_second:,.0f} tokens/s; {engine.cached:.0%} of prompts from cache"
        )
        for engine in board.engines
    ]
    parts += [Text(), _whole(board)]
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=True)
    return table


def _stages(board: Board) -> Table:
    table = _table("stage", "done", "in flight", "waiting", "dropped", "failed", "a minute", "")
    for stage in board.stages:
        slow = stage.name == board.bottleneck
        table.add_row(
            Text(stage.name, style="bold" if slow else ""),
            f"{stage.done:,}",
            f"{stage.busy:,}",
            f"{stage.waiting:,}",
            f"{stage.dropped:,}",
            Text(f"{stage.failed:,}", style="red" if stage.failed else ""),
            f"{stage.per_minute:,.0f}",
            "◀ the others wait for it" if slow else "",
        )
    return table


def _endpoints(board: Board) -> Table:
    table = _table("endpoint", "in flight", "limit", "requests/min", "tokens/min", "429s", "errors", "cost")
    for endpoint in board.endpoints:
        limited = endpoint.faults.get("rate_limited", 0)
        errors = sum(endpoint.faults.values()) - limited
        table.add_row(
            Text(plain(endpoint.name)),
            f"{endpoint.in_flight:,}",
            f"{endpoint.limit:,}",
            f"{endpoint.per_minute:,.0f}",
            f"{endpoint.tokens_per_minute:,.0f}",
            Text(f"{limited:,}", style="yellow" if limited else ""),
            Text(f"{errors:,}", style="red" if errors else ""),
            f"${endpoint.cost_usd:,.2f}" if endpoint.cost_usd else "–",
        )
    return table


def _whole(board: Board) -> RenderableType:
    took = timedelta(seconds=round(board.seconds))
    left = "" if board.seconds_left is None else f", about {timedelta(seconds=round(board.seconds_left))} left"
    of = "" if board.rows is None else f" of {board.rows:,}"
    cost = f", ${board.cost_usd:,.2f}" if board.cost_usd else ""
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=board.rows or 1, completed=min(board.ended, board.rows or 1), width=24)
    line.add_row(bar, Text(f"{board.ended:,}{of} questions ended; {took}{left}{cost}"))
    return line
