"""How commands print money, tokens, times, and tables of them; they fit a terminal of 80 columns."""

from rich.table import Table
from rich.text import Text

_NO_PRICE = "-"


def dollars(usd: float | None) -> str:
    """US dollars with two places, four if it is less than ten cents; a dash if there are no prices."""
    if usd is None:
        return _NO_PRICE
    return f"{usd:,.2f}" if usd >= 0.1 or not usd else f"{usd:,.4f}"


def short(number: float) -> str:
    """A number of tokens, in thousands or millions if it is large."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number:,.0f}"


def duration(hours: float) -> str:
    """Hours, or minutes or seconds if it is less than one."""
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{60 * hours:,.0f} minutes" if hours >= 1 / 30 else f"{max(1.0, 3600 * hours):,.0f} s"


def new_table(*columns: str, words: int = 1) -> Table:
    """An empty table; the first ``words`` columns are text, the others numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number < words else "right", overflow="fold")
    return table
