"""Which requests of a run are out: in a batch, or about to be. Nothing else of them is kept in memory."""

from array import array
from collections.abc import Callable

from weak2wise.llm.errors import ModelError

_SHORT = 16
_EMPTY = array("Q")


def _short(key: str) -> int:
    return int(key[:_SHORT], 16)


class Outstanding:
    """Requests by row and journal key; half of a key is kept, as in the journal's index.

    ``back`` is called with each row of which no request is out any more. ``flush`` sends what is being collected: it is
    called when the run can go on with nothing else.
    """

    def __init__(self) -> None:
        self._rows: dict[int, array[int]] = {}
        self._failures: dict[int, dict[int, ModelError]] = {}
        self._raised: dict[int, set[int]] = {}
        self.count = 0
        self.back: Callable[[int], None] | None = None
        self.flush: Callable[[], None] = lambda: None

    def add(self, row: int, key: str) -> None:
        """A request is out."""
        self._rows.setdefault(row, array("Q")).append(_short(key))
        self.count += 1

    def has(self, row: int, key: str) -> bool:
        """Whether this request is out."""
        return _short(key) in self._rows.get(row, _EMPTY)

    def has_row(self, row: int) -> bool:
        """Whether a request of this row is out."""
        return row in self._rows

    def discard(self, row: int, key: str) -> None:
        """A request is out no more, if it was."""
        keys = self._rows.get(row)
        if keys is None or (short := _short(key)) not in keys:
            return
        keys.remove(short)
        self.count -= 1
        if not keys:
            del self._rows[row]
            self._raised.pop(row, None)
            if self.back:
                self.back(row)

    def fail(self, row: int, key: str, error: ModelError) -> None:
        """A request will not be answered: its row gets this error when it is back."""
        self._failures.setdefault(row, {})[_short(key)] = error

    def failure(self, row: int, key: str) -> ModelError | None:
        """Why a request was not answered, if it is not to be sent again.

        Once the row has got it and comes again, without having been parked since, it is tried anew: the request is to
        be sent.
        """
        short = _short(key)
        if (error := self._failures.get(row, {}).get(short)) is None:
            return None
        raised = self._raised.setdefault(row, set())
        if short not in raised:
            raised.add(short)
            return error
        raised.discard(short)
        del self._failures[row][short]
        return None
