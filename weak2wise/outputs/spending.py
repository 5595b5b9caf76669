"""What a run has spent so far, and what it will spend still, from its files alone.

What is still to come is estimated from the questions that are through: what one of them cost, times those that are
left, less what these have cost already. It is known from ``KNOWN_FROM`` questions on.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from weak2wise.ledger.outcomes import RowStatus
from weak2wise.llm.receipts import MISSING, Spent
from weak2wise.outputs.summary import RoleUse
from weak2wise.outputs.work_dir import WorkDir
from workers.method import METHOD

KNOWN_FROM = 20
"""Questions that the role's last step has done."""


class ToCome(Struct, frozen=True):
    """An estimate of what one role will still spend."""

    role: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


class Spending(Struct, frozen=True):
    """By role: what was spent in all starts, and what is still to come; ``None`` if that is not known yet."""

    roles: list[RoleUse]
    to_come: list[ToCome] | None

    @property
    def cost_usd(self) -> float:
        """US dollars spent."""
        return sum(role.cost_usd for role in self.roles)


_DONE, _DROPPED, _OTHERS = range(3)
"""The classes of rows: a role's last step has done them, they were dropped before, or neither."""
_CLASSES = bytes([_OTHERS, _DONE, _DROPPED, _DONE]).ljust(256, b"\0")
"""The class by whether a row is done (1) and dropped (2)."""


class _Role:
    """The spending of one role: for rows that its last step has done, for rows that were dropped before, for others."""

    def __init__(self, through: list[str], role: str) -> None:
        kind = role.partition("/")[0]
        self.steps = [step.name for step in METHOD if step.name in through and kind in step.asks]
        self.by_class = self.done, self.dropped, self.others = Spent(), Spent(), Spent()


def spending(work: WorkDir) -> Spending:
    """Read it from the journal and the ledgers. Blocks; raises as ``Journal.sums``."""
    roles: dict[str, _Role] = {}
    dropped = work.steps[METHOD[0].name].are(RowStatus.DROPPED)

    def classes(name: str) -> bytes:
        steps = roles.setdefault(name, _Role(work.through, name)).steps
        done = work.steps[steps[-1]].are(RowStatus.DONE) if steps else b""
        both = int.from_bytes(done, "little") | int.from_bytes(dropped, "little") << 1
        return both.to_bytes(max(len(done), len(dropped)), "little").translate(_CLASSES)

    spent: dict[tuple[str, str], Spent] = {}
    for (name, endpoint, number), part in work.journal.sums(classes).items():
        spent.setdefault((name, endpoint), Spent()).add_all(part)
        of = roles[name].by_class
        of[_OTHERS if number == MISSING else number].add_all(part)
    used = [RoleUse(role=role, endpoint=name, **structs.asdict(use)) for (role, name), use in sorted(spent.items())]
    return Spending(used, _to_come(work, roles))


def _to_come(work: WorkDir, roles: Mapping[str, _Role]) -> list[ToCome] | None:
    totals, whole = work.totals()
    account = work.account.up_to(work.through[-1])
    pending = dict(zip(account.steps, account.pending(), strict=True))
    first = METHOD[0].name
    pending[first] = max(0, pending[first] + totals.rows - account.unreadable)
    tally = work.steps[first].tally
    dropped, kept = tally[RowStatus.DROPPED], tally[RowStatus.DONE]
    if not sum(pending.values()):
        return []
    if not whole:
        return None
    found = []
    for name, role in sorted(roles.items()):
        if not role.steps:
            continue
        done = work.steps[role.steps[-1]].tally[RowStatus.DONE]
        if done < KNOWN_FROM:
            return None
        share = kept / (kept + dropped)
        before = list(pending)[: list(pending).index(role.steps[-1]) + 1]
        rows = pending[first] * share + sum(pending[step] for step in before if step != first)
        lost = pending[first] * (1 - share)
        found.append(_role_to_come(name, role, rows / done, lost / dropped if dropped else 0.0))
    return found


def _role_to_come(name: str, role: _Role, done: float, dropped: float) -> ToCome:
    """``done``: the rows still to be done, as a multiple of those that are; ``dropped``: the same of dropped rows."""

    def left(key: str) -> float:
        of_done, of_dropped, already = (getattr(spent, key) for spent in (role.done, role.dropped, role.others))
        return max(0.0, float(done * of_done + dropped * of_dropped - already))

    calls, prompt, answer = (round(left(key)) for key in ("calls", "prompt_tokens", "completion_tokens"))
    return ToCome(name, calls, prompt, answer, left("cost_usd"))
