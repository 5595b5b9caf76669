"""The run in a terminal: a few tables, redrawn every two seconds.

They fit the terminal. A narrow one gets fewer columns, then shorter names, but never shorter numbers. One with few
lines gets fewer endpoints. Lines break between words.

When the size of the terminal changes, the screen is cleared: what was drawn is wrapped or cut now, each terminal in its
own way, so nobody knows how many lines to go back.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import IO, Literal, NamedTuple, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from weak2wise.config import Config
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import QueuedStream
from weak2wise.watch.board import Board, EndpointFacts, LastFault
from weak2wise.watch.observer import Observed

EVERY = 2.0
"""Seconds between two redraws. One takes about 5 ms of CPU."""
SHORTEST_NAME = 12
_GAP = 2
BLUE, ORANGE, GREEN, RED = "#2279c2", "#c2540d", "#198568", "#d13e63"
"""The hues of the page (``--c0``, ``--c1``, ``--c2``, ``--c5``), as bright as can be read on black and on white."""


class Header(NamedTuple):
    """What the picture says of the run besides its board. ``roles``: of each endpoint."""

    config: str
    work_dir: str
    roles: Mapping[str, Sequence[str]]
    cap_usd: float | None = None
    page: str | None = None

    @classmethod
    def of(cls, path: str, config: Config) -> Self:
        """The header of a run with this config, which was read from ``path``."""
        roles: dict[str, list[str]] = {}
        for role, name in config.roles().items():
            roles.setdefault(name, []).append(role.partition("/")[0])
        return cls(path, config.dataset.work_dir, roles, config.engine.max_cost_usd)

    def lines(self, board: Board, width: int) -> Iterator[Text]:
        """Its facts, as many on a line as there is room for."""
        facts = [("config", self.config), ("work_dir", self.work_dir)]
        if self.cap_usd is not None:
            facts.append(("budget", f"${board.cost_usd:,.2f} of ${self.cap_usd:,.2f}"))
        if self.page:
            facts.append(("page", self.page))
        line = Text()
        for name, value in facts:
            # A page's address is of no use without its end, and it is short.
            shown = plain(value) if name == "page" else _short(value, width - len(name) - 1)
            fact = Text.assemble((f"{name} ", "dim"), (shown, BLUE if name == "page" else "bold"))
            if line and len(line) + 3 + len(fact) > width:
                yield line
                line = Text()
            line = line + Text("   ") + fact if line else fact
        yield line


@asynccontextmanager
async def on_screen(
    observer: "asyncio.Future[Observed]", console: Console, header: Header | None = None
) -> AsyncIterator[None]:
    """Show the run on ``console`` while the context is open. Other printed lines scroll above it.

    If the terminal is closed, drawing stops and the run goes on. While it is not read, nothing is drawn.
    """
    stream = console.file
    resized = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, resized.set)
    waiting = Text("Opening ledgers and endpoints; an embedded engine takes half a minute or more …", style="dim")
    live = Live(waiting, console=console, auto_refresh=False, transient=True)
    with suppress(OSError):
        live.start(refresh=True)
    showing = asyncio.create_task(_show(observer, live, stream, header, resized))
    try:
        yield
    finally:
        showing.cancel()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
        _stop(live)


async def _show(
    observer: "asyncio.Future[Observed]", live: Live, stream: IO[str], header: Header | None, resized: asyncio.Event
) -> None:
    found = await asyncio.shield(observer)
    size = live.console.size
    try:
        while True:
            if not (isinstance(stream, QueuedStream) and stream.is_behind):
                resized.clear()
                if size != (size := live.console.size):  # the signal is not sent to a program in another session
                    live.console.control(Control.home(), Control.clear())
                live.update(Picture(found.board(), header), refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await resized.wait()
    except OSError:
        _stop(live)


def _stop(live: Live) -> None:
    """Release standard error, even if its terminal is closed."""
    with suppress(OSError):
        live.stop()


class Picture:
    """The whole board, fitted to the width and height of the terminal."""

    def __init__(self, board: Board, header: Header | None = None) -> None:
        self._board = board
        self._header = header

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        board, width = self._board, options.max_width
        roles = self._header.roles if self._header else {}
        head = [*self._header.lines(board, width), Text()] if self._header else []
        yield from head
        yield _stages(board, width)
        if board.bottleneck:
            yield Text(f"The other stages wait for {board.bottleneck}.", style=f"bold {ORANGE}")
        yield Text()
        if board.endpoints:
            held = [e for e in board.endpoints if e.held_until]
            fixed = len(head) + len(board.stages) + len(board.engines) + len(held) + 7 + 2 * bool(board.last_fault)
            shown, unshown = _busiest(board.endpoints, max(1, console.height - fixed))
            yield _endpoints(shown, width, roles)
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
            role = f" ({', '.join(roles[engine.name])})" if engine.name in roles else ""
            yield Text(_short(engine.name, width - len(role) - len(facts)) + role + facts)
        if board.endpoints or board.engines:
            yield Text()
        if board.last_fault:
            yield from _last_fault(board.last_fault, console, width)
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
    justify: Literal["left", "right"] = "right"


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
        table.add_column(c.head, justify=c.justify, no_wrap=True)
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
    names = [Text(s.name, style=f"bold {ORANGE}" if s.name == board.bottleneck else "") for s in stages]
    columns = [
        _Column("done", 0, _numbers([s.done for s in stages], GREEN)),
        _Column("active", 2, _numbers([s.busy for s in stages])),
        _Column("waiting", 1, _numbers([s.waiting for s in stages])),
        _Column("dropped", 0, _numbers([s.dropped for s in stages])),
        _Column("failed", 0, _numbers([s.failed for s in stages], f"bold {RED}")),
        _Column("/min", 3, _numbers([s.per_minute for s in stages])),
    ]
    return _table("stage", names, columns, width)


def _last_fault(fault: LastFault, console: Console, width: int) -> Iterator[Text]:
    """The words of the last error, on two lines at most."""
    begin = f"last error ({fault.endpoint}, {timedelta(seconds=round(fault.ago))} ago): "
    said = plain(fault.said).removeprefix(f"{fault.endpoint}: ")
    first, *more = Text.assemble((plain(begin), "dim"), (said, RED)).wrap(console, width - len(" …"))
    yield first
    if more:
        yield more[0] + Text(" …") if more[1:] else more[0]


def _endpoints(endpoints: Sequence[EndpointFacts], width: int, roles: Mapping[str, Sequence[str]]) -> Table:
    limited = [e.faults.get("rate_limited", 0) for e in endpoints]
    errors = [sum(e.faults.values()) - count for e, count in zip(endpoints, limited, strict=True)]
    columns = [
        _Column("active", 0, _numbers([e.in_flight for e in endpoints])),
        _Column("limit", 3, [Text(_limit(e)) for e in endpoints]),
        _Column("calls/min", 1, _numbers([e.per_minute for e in endpoints])),
        _Column("tokens/min", 4, _numbers([e.tokens_per_minute for e in endpoints])),
        _Column("429s", 2, _numbers(limited, ORANGE)),
        _Column("errors", 0, _numbers(errors, f"bold {RED}")),
    ]
    if any(e.cost_usd for e in endpoints):
        columns.append(_Column("cost", 0, [Text(f"${e.cost_usd:,.2f}" if e.cost_usd else "–") for e in endpoints]))
    if roles:
        shown = [Text(", ".join(roles.get(e.name, ())), style="dim") for e in endpoints]
        columns.insert(0, _Column("role", 3, shown, "left"))
    return _table("endpoint", [Text(e.name) for e in endpoints], columns, width)


def _limit(endpoint: EndpointFacts) -> str:
    """What limits requests: the number in flight, or the rate."""
    return f"{endpoint.limit:,}" if endpoint.paced is None else f"≤{endpoint.paced:,.0f}/min"


def _whole(board: Board, width: int) -> Table:
    took = timedelta(seconds=round(board.seconds))
    left = "" if board.seconds_left is None else f", about {timedelta(seconds=round(board.seconds_left))} left"
    of = "" if board.rows is None else f" of {board.rows:,}"
    cost = f", ${board.cost_usd:,.2f}" if board.cost_usd else ""
    again = f"; {board.to_retry:,} failed earlier, to be tried again" if board.to_retry else ""
    # Rounded down: 100% is all of them.
    share = f"{100 * board.ended // board.rows}%  " if board.rows else ""
    text = Text.assemble((share, f"bold {GREEN}"), f"{board.ended:,}{of} questions ended; {took}{left}{cost}{again}")
    room = min(24, width - len(text) - 3)  # room for the terminal's ^C, so that the line does not wrap
    line = Table.grid(padding=(0, 1))
    if room < 8:
        line.add_row(text)
    else:
        completed = min(board.ended, board.rows or 1)
        bar = ProgressBar(
            total=board.rows or 1, completed=completed, width=room, complete_style=GREEN, finished_style=GREEN
        )
        line.add_row(bar, text)
    return line
