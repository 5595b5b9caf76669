"""Charts as inline SVG. Colours are CSS classes and follow the page's theme; labels give screen readers the numbers.

Every chart is 360 units wide, so that it can be read on a phone, and it scales. Below it are links to take it along: as
an SVG file, and its numbers as CSV.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from weak2wise.outputs.report.spread import Edge
from weak2wise.outputs.report.take import Table, take
from weak2wise.outputs.report.text import line

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 26, 38
_CHARACTER = 6.8
"""The width of a character of a quiet label, at most on average."""


class Series(NamedTuple):
    """One line of a chart: its name and a value (0 to 1) for each place on the x axis, ``None`` if it has none."""

    name: str
    values: Sequence[float | None]


def _svg(title: str, numbers: str, height: float, body: str, table: Table, *, names: Sequence[str] = ()) -> str:
    """A chart with its links; ``names``: of the series, which the page shows beside the chart, and a file in it."""
    label = f"{line(title)}. {line(numbers, 2000)}"
    drawn = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">{body}</svg>'
    at = height + 8
    for number, name in enumerate(names):
        body += f'{mark(number, 6, at + 14 * number)}<text x="18" y="{at + 14 * number + 4}">{line(name, 48)}</text>'
    return drawn + take(title, body, WIDTH, height + (14 * len(names) + 8 if names else 0), table)


def _label(x: float, y: float, text: str) -> str:
    """A quiet label centred at ``x``, but moved so far that no edge of the chart cuts it."""
    half = _CHARACTER * len(text) / 2
    x, anchor = (0, "start") if x < half else (WIDTH, "end") if x + half > WIDTH else (x, "middle")
    return f'<text class="quiet" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{line(text)}</text>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.2g}%"


def bars(title: str, rows: Sequence[tuple[str, int, str]], whole: int) -> str:
    """Horizontal bars as parts of ``whole``. A row is a name, a count and a note that is shown next to the count."""
    pitch = 40
    parts = []
    for at, (name, number, note) in enumerate(rows):
        y = at * pitch
        width = number / (whole or 1) * WIDTH
        parts.append(
            f'<text x="0" y="{y + 13}">{line(name, 34)}</text>'
            f'<text x="{WIDTH}" y="{y + 13}" text-anchor="end"><tspan class="strong">{number:,}</tspan>'
            f"{_note(note)}</text>"
            f'<rect class="track" x="0" y="{y + 19}" width="{WIDTH}" height="9" rx="3"/>'
            f'<rect class="f0" x="0" y="{y + 19}" width="{width:.1f}" height="9" rx="{min(3, width / 2):.1f}"/>'
        )
    numbers = "; ".join(f"{name}: {number:,} {note}".strip() for name, number, note in rows)
    return _svg(title, numbers, len(rows) * pitch - 8, "".join(parts), Table(("name", "count", "note"), list(rows)))


def _note(text: str) -> str:
    return f' <tspan class="quiet">{line(text, 40)}</tspan>' if text else ""


class Passed(NamedTuple):
    """Questions that passed a step, and those that it lost: how many by what became of them, in words."""

    name: str
    left: int
    lost: dict[str, int]


LOST = ("dropped", "failed", "not finished")
"""What may become of questions, in the order in which it is drawn."""


def funnel(title: str, rows: Sequence[Passed], whole: int) -> str:
    """Horizontal bars as parts of ``whole``: behind what is left of each step, what it lost, however little that is."""
    pitch, least = 48, 3.0
    parts = []
    for at, row in enumerate(rows):
        y, x = at * pitch, row.left / (whole or 1) * WIDTH
        lost = ", ".join(f"−{count:,} {name}" for name, count in row.lost.items() if count)
        parts.append(
            f'<text x="0" y="{y + 13}">{line(row.name, 40)}</text>'
            f'<text x="{WIDTH}" y="{y + 13}" text-anchor="end" class="strong">{row.left:,}</text>'
            f'<rect class="track" x="0" y="{y + 19}" width="{WIDTH}" height="9" rx="3"/>'
            f'<rect class="left{"" if lost else " same"}" x="0" y="{y + 19}" width="{x:.1f}" height="9"/>'
            f'<text class="quiet" x="0" y="{y + 40}">{lost or "nothing lost"}</text>'
        )
        counts = [row.lost.get(name, 0) for name in LOST]
        widths = [max(least, count / (whole or 1) * WIDTH) if count else 0.0 for count in counts]
        x = min(x, WIDTH - sum(widths))
        for number, width in enumerate(widths):
            if width:
                parts.append(
                    f'<rect class="lost{number}" x="{x:.1f}" y="{y + 17}" width="{width:.1f}" height="13" rx="1.5"/>'
                )
                x += width
    numbers = "; ".join(
        f"{row.name}: {row.left:,} " + ", ".join(f"−{n:,} {name}" for name, n in row.lost.items() if n) for row in rows
    )
    table = Table(("step", "left", *LOST), [(row.name, row.left, *(row.lost.get(n, 0) for n in LOST)) for row in rows])
    return _svg(title, numbers, len(rows) * pitch - 4, "".join(parts), table)


class Interval(NamedTuple):
    """An estimate and its confidence interval, with a name. ``shown``: how it is written; with three digits if ''."""

    name: str
    value: float
    low: float
    high: float
    shown: str = ""

    @property
    def text(self) -> str:
        """The estimate as it is written."""
        return self.shown or f"{self.value:.3f}"


def intervals(
    title: str,
    rows: Sequence[Interval],
    x_title: str,
    *,
    span: tuple[float, float] | None = None,
    lines_at: Sequence[tuple[float, str]] = (),
    number: Callable[[float], str] = "{:.3g}".format,
) -> str:
    """A dot with its interval for each row.

    ``span``: the least that the axis shows. ``lines_at``: numbers to compare with, each with a name. ``number``: how
    the axis writes a value.
    """
    pitch, top = 38, 8
    ends: list[float] = [
        *(span or ()),
        *(end for row in rows for end in (row.low, row.high)),
        *(value for value, _ in lines_at),
    ]
    low_end, high_end = min(ends), max(ends)
    step = math.pow(10, math.floor(math.log10(max(high_end - low_end, 1e-6))))
    step *= next(part for part in (0.2, 0.5, 1.0, 2.0) if (high_end - low_end) / (part * step) <= 6)
    first, last = math.floor(low_end / step + 1e-9), math.ceil(high_end / step - 1e-9)
    inner, bottom = WIDTH - 2 * _RIGHT, top + len(rows) * pitch + 4

    def x(value: float) -> float:
        return _RIGHT + (value / step - first) / max(1, last - first) * inner

    parts = [
        f'<line class="rule" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{bottom}"/>'
        f"{_label(x(tick), bottom + 14, number(tick))}"
        for tick in (at * step for at in range(first, last + 1))
    ]
    for at, (value, _) in enumerate(lines_at, 1):
        parts.append(f'<line class="s{at} dashed" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{top}" y2="{bottom}"/>')
    for at, row in enumerate(rows):
        y = top + at * pitch
        parts.append(
            f'<text x="0" y="{y + 12}">{line(row.name, 34)}</text>'
            f'<text x="{WIDTH}" y="{y + 12}" text-anchor="end" class="strong">{line(row.text, 40)}</text>'
            f'<line class="s0 thick" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y + 24}" y2="{y + 24}"/>'
            f"{mark(0, x(row.value), y + 24)}"
        )
    parts.append(_label(WIDTH / 2, bottom + 30, x_title))
    numbers = [f"{row.name}: {row.shown or f'{row.value:.3f} ({row.low:.3f} to {row.high:.3f})'}" for row in rows]
    numbers += [f"{name}: {value:.3f}" for value, name in lines_at]
    table = Table(("name", x_title, "low", "high"), [(row.name, row.value, row.low, row.high) for row in rows])
    return _svg(title, "; ".join(numbers), bottom + 36, "".join(parts), table)


def _frame(
    low: int,
    ticks: Sequence[tuple[float, str]],
    top: float,
    x_title: str,
    y_title: str,
    *,
    height: int,
    number: Callable[[float], str] = _percent,
) -> str:
    """Grid lines from ``top`` down to y = ``low``, x labels at parts of the width, and the axes' names."""
    inner = WIDTH - _LEFT - _RIGHT
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = low - share * (low - _TOP)
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="quiet" x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{number(share * top)}</text>'
        )
    for at, label in ticks:
        parts.append(_label(_LEFT + at * inner, low + 15, label))
    middle = _LEFT + inner / 2
    parts.append(f'<text class="quiet" x="{middle}" y="{height - 5}" text-anchor="middle">{line(x_title)}</text>')
    parts.append(f'<text class="quiet" x="0" y="10">{line(y_title)}</text>')
    return "".join(parts)


def lines(
    title: str,
    series: Sequence[Series],
    labels: Sequence[str],
    x_title: str,
    y_title: str,
    *,
    below: Sequence[str] = (),
    top: float = 1.0,
    number: Callable[[float], str] = _percent,
) -> str:
    """A line chart of values from 0 to ``top``; each series has its own marks.

    ``below``: texts under the x labels. If there are many labels, only some are shown. ``number``: how a value is
    written; as a percentage if left out.
    """
    low = 186
    height = low + _BOTTOM + (14 if below else 0)
    inner = WIDTH - _LEFT - _RIGHT
    places = [0.04 + 0.92 * at / max(1, len(labels) - 1) for at in range(len(labels))]
    some = slice(None, None, math.ceil(len(labels) / 7) or 1)
    ticks = list(zip(places, labels, strict=True))[some]
    parts = [_frame(low, ticks, top, x_title, y_title, height=height, number=number)]
    parts += [
        _label(_LEFT + place * inner, low + 29, text) for place, text in list(zip(places, below, strict=False))[some]
    ]
    for at, (_, values) in enumerate(series):
        points = [
            (_LEFT + place * inner, low - value / top * (low - _TOP))
            for place, value in zip(places, values, strict=False)
            if value is not None
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="s{at % 6}" points="{path}"/>')
        parts += [mark(at, x, y) for x, y in points]
    values_text = "; ".join(
        f"{name}: " + ", ".join("none" if v is None else number(v) for v in values) for name, values in series
    )
    numbers = [f"{x_title}: {', '.join(labels)}", *([", ".join(below)] if below else []), values_text]
    names = [name for name, _ in series]
    columns = [labels, *([below] if below else []), *(values for _, values in series)]
    table = Table((x_title, *(["attempts"] if below else []), *names), list(zip(*columns, strict=True)))
    return _svg(title, ". ".join(numbers), height, "".join(parts), table, names=names)


def mark(number: int, x: float, y: float) -> str:
    """The mark of a series. Its shape distinguishes series that have the same or similar colours."""
    kind = f'class="f{number % 6} mark"'
    match number % 4:
        case 0:
            return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case 1:
            return f'<rect {kind} x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
        case 2:
            return f'<path {kind} d="M{x:.1f} {y - 4.8:.1f}l4.6 8.2h-9.2z"/>'
    return f'<path {kind} d="M{x:.1f} {y - 5.2:.1f}l5.2 5.2l-5.2 5.2l-5.2 -5.2z"/>'


def legend(names: Sequence[str]) -> str:
    """The names of the series with their marks."""
    items = "".join(
        f'<li><svg class="key" viewBox="0 0 12 12" aria-hidden="true">{mark(number, 6, 6)}</svg>{line(name, 60)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def histogram(title: str, series: Sequence[tuple[str, Sequence[int]]], edges: Sequence[Edge], x_title: str) -> str:
    """A histogram with shares as heights; the first series is filled, a second one is an outline.

    ``edges`` are those of the bins: one more than there are bins.
    """
    low = 166
    height, inner = low + _BOTTOM, WIDTH - _LEFT - _RIGHT
    bins = len(edges) - 1
    shares = [[n / (sum(counts) or 1) for n in counts] for _, counts in series]
    top = max((share for row in shares for share in row), default=0) or 1
    top = math.ceil(top * 25) / 25
    ticks = [(at / bins, edge.label) for at, edge in enumerate(edges) if edge.label]
    parts = [_frame(low, ticks, top, x_title, "share", height=height)]
    step = inner / bins
    for number, row in enumerate(shares):
        if number == 0:
            parts += [
                f'<rect class="f0" x="{_LEFT + at * step + 0.5:.2f}" y="{low - share / top * (low - _TOP):.1f}" '
                f'width="{max(0.5, step - 1):.2f}" height="{share / top * (low - _TOP):.1f}"/>'
                for at, share in enumerate(row)
                if share
            ]
        else:
            path = f"M{_LEFT} {low}" + "".join(
                f"V{low - share / top * (low - _TOP):.1f}H{_LEFT + (at + 1) * step:.1f}" for at, share in enumerate(row)
            )
            parts.append(f'<path class="s{number}" d="{path}V{low}"/>')
    numbers = ". ".join(
        f"{name}: " + ", ".join(f"{_percent(share)} in bin {at}" for at, share in enumerate(row, 1) if share)
        for (name, _), row in zip(series, shares, strict=True)
    )
    names = [name for name, _ in series]
    places = [(one.at, other.at) for one, other in pairwise(edges)]
    rows = [(*place, *counts) for place, *counts in zip(places, *(counts for _, counts in series), strict=True)]
    table = Table((f"{x_title}, from", "to", *names), rows)
    return _svg(title, f"{bins} bins over {x_title}. {numbers}", height, "".join(parts), table, names=names)


def cells(bits: Sequence[int | None]) -> str:
    """One candidate's mask levels as a row of cells: answer reached, missed, or not asked."""
    pitch = 16
    shapes = []
    for level, bit in enumerate(bits):
        kind = {1: "yes", 0: "no", None: "unasked"}[bit]
        sign = {1: "M3.5 7l2.5 2.5 4.5-5", 0: "M4 4l6 6m0-6l-6 6", None: "M4.5 7h5"}[bit]
        shapes.append(
            f'<g transform="translate({level * pitch})"><rect class="{kind}" width="14" height="14" rx="3"/>'
            f'<path class="sign" d="{sign}"/></g>'
        )
    words = ", ".join(
        f"level {level} { ({1: 'reached', 0: 'missed', None: 'not asked'}[bit]) }" for level, bit in enumerate(bits)
    )
    width = max(1, len(bits)) * pitch
    return (
        f'<svg class="cells" viewBox="0 0 {width} 14" width="{width}" height="14" role="img" '
        f'aria-label="{words or "no steps to mask"}">{"".join(shapes)}</svg>'
    )
