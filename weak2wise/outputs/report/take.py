"""Charts to take along: links to a chart as an SVG file and to its numbers as CSV, both inside the page (``data:``)."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from weak2wise.outputs.report.text import line

_STYLE = """\
svg{background:#fff;font-family:system-ui,"DejaVu Sans",sans-serif}text{font-size:12px;fill:#1b2430}\
.quiet,text.quiet{font-size:11px;fill:#5a6675}.strong{font-weight:650}.track{fill:#dfe4ea;opacity:.6}\
.rule{stroke:#dfe4ea}polyline,path[class^="s"]{fill:none;stroke-width:2;stroke-linejoin:round}\
.s0{stroke:#1f6fb2}.s1{stroke:#b8500c}.s2{stroke:#17795f}.s3{stroke:#8a3f9c}.s4{stroke:#8a6a00}.s5{stroke:#b02a4c}\
.f0{fill:#1f6fb2}.f1{fill:#b8500c}.f2{fill:#17795f}.f3{fill:#8a3f9c}.f4{fill:#8a6a00}.f5{fill:#b02a4c}\
.left{fill:#1f6fb2}.same{opacity:.45}.lost0{fill:#b8500c}.lost1{fill:#b02a4c}.lost2{fill:#5a6675}\
.mark{stroke:#fff}line[class^="s"]{stroke-width:1.5}line.thick{stroke-width:3;stroke-linecap:round;opacity:.55}\
line.dashed{stroke-dasharray:4 3}"""
"""The light colours of ``style.css``: a file has no theme."""

Cell = str | int | float | None


class Table(NamedTuple):
    """A chart's numbers: the names of the columns, and the rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def take(title: str, body: str, width: float, height: float, table: Table) -> str:
    """The two links; ``body`` is what the chart's SVG holds."""
    name = re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16:.0f} {height + 16:.0f}" '
        f'width="{2 * width + 32:.0f}" height="{2 * height + 32:.0f}"><title>{line(title)}</title>'
        f"<style>{_STYLE}</style>{body}</svg>"
    )
    links = {"svg": ("image/svg+xml", svg), "csv": ("text/csv;charset=utf-8", as_csv(table))}
    shown = " ".join(
        f'<a download="{name}.{kind}" href="data:{mime},{quote(text, errors="replace")}" '
        f'aria-label="{line(title)} as {kind.upper()}">{kind.upper()}</a>'
        for kind, (mime, text) in links.items()
    )
    return f'<p class="take">{shown}</p>'


def as_csv(table: Table) -> str:
    """The numbers as CSV. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([_cell(cell) for cell in row] for row in (table.head, *table.rows))
    return file.getvalue()


def _cell(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
