"""What the lines of the journal cost, without their texts: what its index keeps of each line, and sums of that."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from weak2wise.ledger.columns import TEXT, Columns, Layout
from weak2wise.llm.model import Usage


class Receipt(NamedTuple):
    """One line of the journal.

    ``asker`` is role and endpoint in one text; ``short`` is half of the answer's key. Not ``answered``: the answer
    could not be used, and has no key.
    """

    row: int
    asker: str
    answered: bool
    short: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float
    estimated: bool

    @property
    def role(self) -> str:
        """Who asked."""
        return asker_of(self.asker)[0]


def receipt_of(row: int, key: str, asker: tuple[str, str], usage: Usage, cost_usd: float) -> Receipt:
    """The receipt of an answer, to role and endpoint. Raises ``ValueError`` if its key is not one."""
    return Receipt(
        row,
        "\0".join(asker),
        key != "",
        short_key(key) if key else 0,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        cost_usd,
        usage.estimated,
    )


class Spent(Struct):
    """Calls answered, tokens and US dollars of one role on one endpoint, over all runs of this work_dir.

    For ``estimated`` answers the endpoint reported no usage, for some because they broke off. ``wasted_usd`` is the
    part of ``cost_usd`` for answers that could not be used.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0
    estimated: int = 0
    wasted_usd: float = 0.0

    def add(self, receipt: Receipt) -> None:
        """Count one line of the journal."""
        if receipt.answered:
            self.calls += 1
        else:
            self.wasted_usd += receipt.cost_usd
        self.estimated += receipt.estimated
        self.prompt_tokens += receipt.prompt_tokens
        self.completion_tokens += receipt.completion_tokens
        self.cached_tokens += receipt.cached_tokens
        self.cost_usd += receipt.cost_usd

    def add_all(self, other: "Spent", sign: int = 1) -> None:
        """Add what another one has counted, or take it away (-1)."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))


def short_key(key: str) -> int:
    """The half of a key that is kept in memory. Raises ``ValueError`` if the key is not one."""
    return int(key[:16], 16)


class _UsageOnly(Struct):
    """A completion without its texts."""

    usage: Usage = Usage()


class _Receipt(Struct):
    """The parts of a line that make its receipt; the texts are skipped."""

    row: Annotated[int, Meta(ge=0)]
    key: str
    role: str
    endpoint: str
    completion: _UsageOnly
    cost_usd: float = 0.0


_RECEIPT = msgspec.json.Decoder(_Receipt)


def _receipt(line: bytes) -> Receipt:
    said = _RECEIPT.decode(line)
    return receipt_of(said.row, said.key, (said.role, said.endpoint), said.completion.usage, said.cost_usd)


def _sums(lines: Columns, so_far: list[Any]) -> list[Any]:
    """What was spent by each asker, in the order of the askers."""
    spent = msgspec.convert(so_far, list[Spent])
    spent += [Spent() for _ in lines.texts[len(spent) :]]
    by_asker = dict(zip(lines.texts, spent, strict=True))
    for receipt in receipts(lines):
        by_asker[receipt.asker].add(receipt)
    return msgspec.to_builtins(spent)  # type: ignore[no-any-return]


_TYPES = {"row": "I", "asker": TEXT, "answered": "B", "short": "Q", "cost_usd": "d", "estimated": "B"}
LAYOUT = Layout("receipts 1", {name: _TYPES.get(name, "H") for name in Receipt._fields}, _receipt, _sums)
"""What the journal's index keeps."""


def asker_of(text: str) -> tuple[str, str]:
    """Role and endpoint of an asker."""
    role, _, endpoint = text.partition("\0")
    return role, endpoint


def askers(lines: Columns) -> list[tuple[str, str]]:
    """Role and endpoint by the number that the column ``asker`` has for them."""
    return list(map(asker_of, lines.texts))


def receipts(lines: Columns, chosen: Iterable[int] | None = None) -> Iterator[Receipt]:
    """The receipt of each line; ``chosen``: of the lines with these numbers."""
    columns = [lines[name] for name in Receipt._fields]
    facts = zip(*columns, strict=True) if chosen is None else ([c[number] for c in columns] for number in chosen)
    for row, asker, *others in facts:
        yield Receipt(row, lines.texts[asker], *others)


def select(lines: Columns, by_row: Sequence[bytes], missing: int, first: int = 0) -> list[int]:
    """The numbers of the lines for whose row the table of its asker has something else than 0.

    ``missing``: what of rows that are not in the table. ``first``: the row with which the tables begin.
    """
    rows = [row - first for row in lines["row"]] if first else lines["row"]
    pairs = zip(rows, lines["asker"], strict=True)
    try:
        return [number for number, (row, asker) in enumerate(pairs) if by_row[asker][row]]
    except IndexError:
        size = max(rows) + 1
        return select(lines, [table.ljust(size, bytes([missing])) for table in by_row], missing, first)


MISSING = 255
"""The class of rows that have none."""
Sums = dict[tuple[str, str, int], Spent]
"""What was spent, by role, endpoint, and class of the row."""


def add_up(sums: Sums, lines: Columns, classes: Callable[[str], bytes] | None = None) -> None:
    """Count all lines of a shard.

    ``classes`` gives for a role the class of each row, by row. Class 0 should be that of most rows: the others alone
    are looked at one by one.
    """
    known = askers(lines)
    for (role, endpoint), spent in zip(known, msgspec.convert(lines.sums, list[Spent]), strict=True):
        sums.setdefault((role, endpoint, 0), Spent()).add_all(spent)
    if classes is None:
        return
    by_row = [classes(role) for role, _ in known]
    chosen = select(lines, by_row, MISSING)
    others: Sums = {}
    for at, receipt in zip(chosen, receipts(lines, chosen), strict=True):
        asker, table = known[lines["asker"][at]], by_row[lines["asker"][at]]
        number = table[receipt.row] if receipt.row < len(table) else MISSING
        others.setdefault((*asker, number), Spent()).add(receipt)
    for (role, endpoint, number), part in others.items():
        sums.setdefault((role, endpoint, number), Spent()).add_all(part)
        sums[role, endpoint, 0].add_all(part, sign=-1)
