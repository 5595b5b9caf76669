"""A few facts of every line of a shard, in columns: all that a start needs to know of lines that it does not read."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from weak2wise.ledger.places import location_of

TEXT = "text"
"""The type of a column of texts that many lines share; the column holds their numbers."""
_WIDER = {"B": "H", "H": "I", "I": "q"}
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1

Entry = tuple[Any, ...]
"""The facts of one line, in the order of the layout's columns."""


class Layout(NamedTuple):
    """What is kept of each line."""

    name: str
    """Another one whenever anything else is kept."""
    columns: dict[str, str]
    """A type code of ``array`` by name, the narrowest that usually does, or ``TEXT``."""
    read: Callable[[bytes], Entry]
    """The facts of a line. Raises ``ValueError`` for a line that cannot be read."""
    sums: Callable[["Columns", list[Any]], list[Any]] = lambda _lines, so_far: so_far
    """The sums so far with these lines added to them. They are kept with the columns; JSON values."""


class Columns:
    """The facts of the lines of one shard, in the order of the lines.

    A column becomes wider when a number does not fit; one beyond 64 bits becomes the nearest that fits.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.sizes: array[int] = array("H")
        """Bytes of each line."""
        self.columns: dict[str, array[Any]] = {
            name: array("B" if code == TEXT else code) for name, code in layout.columns.items()
        }
        self.texts: list[str] = []
        """The texts by number."""
        self._numbers: dict[str, int] = {}
        self._sums: list[Any] | None = None
        self._so_far: list[Any] = []
        """The sums over the lines that were taken away."""
        self._of_text = [code == TEXT for code in layout.columns.values()]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.columns[name]

    def add(self, size: int, entry: Entry) -> None:
        """Add the facts of the next line, of ``size`` bytes."""
        self._sums = None
        try:
            self.sizes.append(size)
        except OverflowError:
            self.sizes = _with(self.sizes, size)
        for (name, column), value, is_text in zip(self.columns.items(), entry, self._of_text, strict=True):
            number = self._number(value) if is_text else value
            try:
                column.append(number)
            except OverflowError:
                self.columns[name] = _with(column, number)

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return number

    @property
    def sums(self) -> list[Any]:
        """The layout's sums over these lines, and those that were taken away."""
        if self._sums is None:
            self._sums = self.layout.sums(self, self._so_far)
        return self._sums

    @property
    def types(self) -> list[str]:
        """The type code of each column, the sizes' first."""
        return [column.typecode for column in (self.sizes, *self.columns.values())]

    def take(self) -> "list[array[Any]]":
        """Take the facts of all lines away, the sizes first. What was counted of them stays: texts and sums."""
        self._so_far = self.sums
        taken = [self.sizes, *self.columns.values()]
        self.sizes, *others = [array(column.typecode) for column in taken]
        self.columns = dict(zip(self.columns, others, strict=True))
        return taken

    def extend(self, taken: "list[array[Any]]") -> None:
        """Add the facts of further lines as ``take`` gave them. Raises ``ValueError`` for another number of columns."""
        sizes, *columns = taken
        self.sizes = _joined(self.sizes, sizes)
        for name, column in zip(self.columns, columns, strict=True):
            self.columns[name] = _joined(self.columns[name], column)

    def counted(self, texts: list[str], sums: list[Any]) -> None:
        """Take over the texts and sums of these lines."""
        self.texts, self._sums = texts, sums
        self._numbers = {text: number for number, text in enumerate(texts)}

    def locations(self, shard: int) -> Iterator[int]:
        """The location of each line, if this is the shard of that number; and one behind the last."""
        return accumulate(self.sizes, initial=location_of(shard, 0))


def widened(column: "array[int]") -> "array[int]":
    """A copy of a column that has room for larger numbers."""
    return array(_WIDER[column.typecode], column)


def _joined(column: "array[Any]", more: "array[Any]") -> "array[Any]":
    """One column; ``more`` may be wider, and takes the place of an empty one."""
    if not column:
        return more
    if column.typecode != more.typecode:
        column = array(more.typecode, column)
    column.extend(more)
    return column


def _with(column: "array[int]", number: int) -> "array[int]":
    """A copy of a column with one number more, which it has no room for."""
    while column.typecode in _WIDER:
        column = widened(column)
        try:
            column.append(number)
        except OverflowError:
            continue
        return column
    column.append(min(_MOST, max(_LEAST, number)))
    return column
