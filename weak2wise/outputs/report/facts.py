"""The numbers of a report: one pass over each ledger and the journal, a few bytes of memory for each row."""

import operator
from array import array
from collections import Counter
from heapq import nlargest
from itertools import islice
from typing import Any

from msgspec import Struct, field

from weak2wise.ledger.account import Totals
from weak2wise.ledger.outcomes import Done, Dropped, Failed
from weak2wise.llm.receipts import Spent
from weak2wise.outputs.work_dir import WorkDir
from workers.records import Golden, Scored

SLOWEST = 10
LISTED = 50
"""Failed and dropped questions that are named, of each."""


class _Candidate(Struct):
    m_strong: str


class _Score(Struct):
    score: float
    s_list: tuple[int | None, ...] = ()
    is_bound: bool = False


class _Scored(Struct):
    candidates: tuple[_Candidate, ...]
    scores: tuple[_Score, ...]


class _Winner(Struct):
    m_strong: str
    normal: str


class _Golden(Struct):
    winner: _Winner
    score: _Score
    truncated: str
    cut_by: str


class Level(Struct):
    """One mask level of one strong model: attempts of the weak LLM, and how many reached the answer."""

    asked: int = 0
    right: int = 0


class Facts(Struct, kw_only=True):
    """All numbers of a report. Arrays have one entry for each golden trace, if not stated otherwise."""

    totals: Totals
    whole: bool
    """Whether ``totals`` counts the whole input; if not, it counts the rows begun."""
    through: dict[str, dict[str, int]]
    """For each step, how many rows are ``done``, ``dropped``, ``failed``."""
    levels: dict[str, list[Level]] = field(default_factory=dict)
    """By strong model."""
    candidates: Counter[str] = field(default_factory=Counter)
    bounds: int = 0
    """Candidates with only an upper bound of the score: they could no longer win."""
    candidate_scores: "array[float]" = field(default_factory=lambda: array("d"))
    rows: "array[int]" = field(default_factory=lambda: array("I"))
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    before: "array[int]" = field(default_factory=lambda: array("I"))
    """Length of the winner's whole reasoning, in characters."""
    after: "array[int]" = field(default_factory=lambda: array("I"))
    wins: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    spent: dict[tuple[str, str], Spent] = field(default_factory=dict)
    seconds: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds in all stages together, by row."""
    tokens: "array[int]" = field(default_factory=lambda: array("Q"))
    """Answer tokens by row."""
    failures: list[Failed] = field(default_factory=list)
    """The first ``LISTED`` of them."""
    drops: list[Dropped] = field(default_factory=list)
    """The first ``LISTED`` of them."""

    def slowest(self) -> list[int]:
        """The rows that took longest, in descending order."""
        rows = nlargest(SLOWEST, range(len(self.seconds)), key=self.seconds.__getitem__)
        return [row for row in rows if self.seconds[row] > 0]


def gather(work: WorkDir) -> Facts:
    """Read a whole run. Blocks; raises the same errors as ``WorkDir``."""
    totals, whole = work.totals()
    facts = Facts(totals=totals, whole=whole, through={step: work.counts(step) for step in work.through})
    for ledger in work.steps.values():
        _add_all(facts.seconds, ledger.seconds())
    work.made(Scored).each_done(_Scored, lambda done: _scored(facts, done))
    work.made(Golden).each_done(_Golden, lambda done: _golden(facts, done))
    facts.spent = {(role, endpoint): spent for (role, endpoint, _), spent in work.journal.sums().items()}
    work.journal.look(lambda receipt: _add(facts.tokens, receipt.row, receipt.completion_tokens))
    account = work.account.up_to(work.through[-1])
    facts.failures = list(islice(account.failures(), LISTED))
    facts.drops = list(islice(account.drops(), LISTED))
    return facts


def _add_all(column: "array[float]", amounts: "array[float]") -> None:
    column.extend([0] * (len(amounts) - len(column)))
    column[: len(amounts)] = array("f", map(operator.add, column, amounts))


def _add(column: "array[Any]", row: int, amount: float) -> None:
    if row >= len(column):
        column.extend([0] * (row + 1024 - len(column)))
    column[row] += amount


def _scored(facts: Facts, done: Done[_Scored]) -> None:
    for candidate, score in zip(done.record.candidates, done.record.scores, strict=True):
        facts.candidates[candidate.m_strong] += 1
        if score.is_bound:
            facts.bounds += 1
        else:
            facts.candidate_scores.append(score.score)
        levels = facts.levels.setdefault(candidate.m_strong, [])
        levels.extend(Level() for _ in range(len(score.s_list) - len(levels)))
        for level, bit in zip(levels, score.s_list, strict=False):
            if bit is not None:
                level.asked += 1
                level.right += bit


def _golden(facts: Facts, done: Done[_Golden]) -> None:
    golden = done.record
    facts.rows.append(done.row)
    facts.scores.append(golden.score.score)
    facts.before.append(len(golden.winner.normal))
    facts.after.append(len(golden.truncated))
    facts.wins[golden.winner.m_strong] += 1
    facts.cuts[golden.cut_by] += 1
