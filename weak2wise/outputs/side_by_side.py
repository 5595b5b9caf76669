"""Two runs side by side: their scores, whether they chose the same traces of the same questions, and their cost.

Questions are the same in both runs if their text and their answer are; with the same input, only in the same row. Of a
question only a few numbers are kept, so runs of a million rows can be compared.
"""

import hashlib
from array import array
from collections.abc import Callable
from heapq import nlargest
from itertools import compress, count
from statistics import median
from typing import TypeAlias

from msgspec import Struct

from weak2wise.config.shape import default_shape
from weak2wise.ledger.account import Totals
from weak2wise.ledger.manifest import differing
from weak2wise.ledger.outcomes import Done, RowStatus
from weak2wise.outputs.provenance import shown
from weak2wise.outputs.settings import public_name
from weak2wise.outputs.work_dir import WorkDir, name_of
from weak2wise.statistics import Difference, Estimate, Singles, mean, paired_difference, proportion
from workers.method import step_making
from workers.records import Golden, Scored

LISTED = 12
"""Questions listed whose scores differ most."""


class OneRun(Struct, frozen=True, kw_only=True):
    """One of the two, named ``name``. ``calls`` and tokens are those of all roles together, in all starts.

    ``mean_score`` is of all golden traces: ``None`` if there are fewer than two. ``cost_for_row``: US dollars a row
    emitted; ``None`` if there is no such row. ``seconds``: for how long the run has been at work, over all starts.
    """

    name: str
    work_dir: str
    state: str
    weak: str
    strong: list[str]
    scorer: str
    totals: Totals
    whole: bool
    golden: int
    mean_score: Estimate | None
    median_score: float | None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    cost_for_row: float | None
    seconds: float


class Common(Struct, frozen=True, kw_only=True):
    """The questions that have a golden trace in both runs.

    Attributes:
        questions: how many there are.
        same_trace: the share of them whose winner is the same text; ``None`` if there are none.
        same_model: the share whose winner is by the same strong model; ``None`` if there are none.
        difference: of the scores, question by question, the second run's less the first one's; ``None`` if there are
            fewer than two questions, or if the scores are by two scorers: their scales have nothing in common.
        higher: questions with a higher score in the second run; ``lower``: with a lower one. By two scorers: 0.
    """

    questions: int
    same_trace: Estimate | None
    same_model: Estimate | None
    difference: Difference | None
    higher: int
    lower: int


class Apart(Struct, frozen=True):
    """A common question whose two scores are far apart: its row in the first run, its text, and the scores."""

    row: int
    question: str
    first: float
    second: float


class Changed(Struct, frozen=True):
    """A setting that affects results and differs; its two values in words, ``None`` where a run does not have it."""

    key: str
    first: str | None
    second: str | None
    of_scores: bool
    """Whether scores depend on it, so that they are not measured alike."""


class SideBySide(Struct, frozen=True, kw_only=True):
    """What ``side_by_side`` finds.

    Attributes:
        alike: of the questions that both have finished, the share that both emitted or both dropped; ``None`` if there
            are none, or if the inputs differ.
        apart: the common questions whose scores differ most, at most ``LISTED``; none if they are by two scorers.
        only_first: golden traces of questions that have none in the second run; ``only_second``: the other way round.
    """

    first: OneRun
    second: OneRun
    common: Common
    alike: Estimate | None
    apart: list[Apart]
    only_first: int
    only_second: int
    same_input: bool
    changed: list[Changed]

    @property
    def scored_alike(self) -> bool:
        """Whether scores of the two runs are measured in the same way."""
        return not any(changed.of_scores for changed in self.changed)


def side_by_side(first: WorkDir, second: WorkDir) -> SideBySide:
    """Compare two runs; each may still be going on. Blocks; raises the same errors as ``WorkDir``."""
    names: dict[str, int] = {}
    same_input = first.manifest.input == second.manifest.input
    of_first, of_second = (_Golds(work, names, by_row=same_input) for work in (first, second))
    places = _places(of_first, of_second)
    one_scorer = first.scorer_name == second.scorer_name
    more = array("d", map(lambda a, b: of_second.scores[b] - of_first.scores[a], *places) if one_scorer else ())
    return SideBySide(
        first=_one_run(first, of_first.scores),
        second=_one_run(second, of_second.scores),
        common=_common(of_first, of_second, places, more),
        alike=_alike(first, second) if same_input else None,
        apart=_apart(first, of_first, of_second, places, more),
        only_first=len(of_first.scores) - len(places[0]),
        only_second=len(of_second.scores) - len(places[0]),
        same_input=same_input,
        changed=_changed(first, second),
    )


class _Question(Struct):
    text: str
    answer: str


class _Winner(Struct):
    m_strong: str
    step_reasoning: str
    normal: str


class _Score(Struct):
    score: float


class _Golden(Struct):
    question: _Question
    winner: _Winner
    score: _Score


class _Golds:
    """A run's golden traces, in the order in which they were written: of each what is compared."""

    def __init__(self, work: WorkDir, names: dict[str, int], *, by_row: bool) -> None:
        self.rows = array("I")
        self.questions, self.traces = array("Q"), array("Q")
        """Digests of texts."""
        self.scores = array("d")
        self.models = array("L")
        """The number of each winner's model in ``names``."""
        self._names = names
        self._work = work
        self._by_row = by_row
        work.made(Golden).each_done(_Golden, self._take)

    def _take(self, done: Done[_Golden]) -> None:
        golden = done.record
        row = [str(done.row)] if self._by_row else []
        self.rows.append(done.row)
        self.questions.append(_digest(golden.question.text.strip(), golden.question.answer.strip(), *row))
        self.traces.append(_digest(golden.winner.step_reasoning, golden.winner.normal))
        self.scores.append(golden.score.score)
        model = self._work.model_of(golden.winner.m_strong)
        self.models.append(self._names.setdefault(model, len(self._names)))


def _digest(*texts: str) -> int:
    """A number of 64 bits: of a million texts two have the same one with a chance of one to 37 million."""
    hashed = hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest(), "little")


_Places: TypeAlias = tuple["array[int]", "array[int]"]


def _places(first: _Golds, second: _Golds) -> _Places:
    """The places of each common question in the two; of a question that is there several times, one after another."""
    found = array("I"), array("I")
    others, at = _sorted(second.questions), 0
    for one in _sorted(first.questions):
        key = first.questions[one]
        while at < len(others) and second.questions[others[at]] < key:
            at += 1
        if at < len(others) and second.questions[others[at]] == key:
            found[0].append(one)
            found[1].append(others[at])
            at += 1
    return found


def _sorted(keys: "array[int]") -> "array[int]":
    return array("I", sorted(range(len(keys)), key=keys.__getitem__))


def _common(first: _Golds, second: _Golds, places: _Places, more: "array[float]") -> Common:
    def by_question(of: Callable[[int, int], float]) -> Singles:
        return Singles(array("d", map(of, *places)))

    some = len(places[0]) > 0
    scores = by_question(lambda a, _: first.scores[a]), by_question(lambda _, b: second.scores[b])
    return Common(
        questions=len(places[0]),
        same_trace=proportion(by_question(lambda a, b: first.traces[a] == second.traces[b])) if some else None,
        same_model=proportion(by_question(lambda a, b: first.models[a] == second.models[b])) if some else None,
        difference=paired_difference(*scores) if len(more) > 1 else None,
        higher=sum(value > 0 for value in more),
        lower=sum(value < 0 for value in more),
    )


def _apart(work: WorkDir, first: _Golds, second: _Golds, places: _Places, more: "array[float]") -> list[Apart]:
    """The questions with the largest differences ``more``; their texts are read from the first run."""
    apart = []
    for pair in nlargest(LISTED, compress(count(), more), key=lambda pair: abs(more[pair])):
        one, other = places[0][pair], places[1][pair]
        row = first.rows[one]
        outcome = work.made(Golden).read(row)
        question = outcome.record.title if isinstance(outcome, Done) else ""
        apart.append(Apart(row, question, first.scores[one], second.scores[other]))
    return apart


def _alike(first: WorkDir, second: WorkDir) -> Estimate | None:
    fates = zip(_fates(first), _fates(second), strict=False)
    both = array("d", (one == other for one, other in fates if one and other))
    return proportion(Singles(both)) if both else None


def _fates(work: WorkDir) -> bytearray:
    """By row: 1 if it was emitted, 2 if it was dropped, 0 if neither."""
    ledgers = [work.steps[step] for step in work.through]
    fates = bytearray(max(len(ledger.numbers) for ledger in ledgers))
    emitted = ledgers[-1].are(RowStatus.DONE)
    fates[: len(emitted)] = emitted
    for ledger in ledgers:
        for row in compress(count(), ledger.are(RowStatus.DROPPED)):
            fates[row] = 2
    return fates


def _one_run(work: WorkDir, scores: "array[float]") -> OneRun:
    totals, whole = work.totals()
    spent = list(work.journal.sums().values())
    cost = sum(one.cost_usd for one in spent)
    return OneRun(
        name=name_of(work.folder.resolve()),
        work_dir=str(work.folder.resolve()),
        state=work.state(),
        weak=public_name(work.models["weak"]),
        strong=[public_name(work.model_of(name)) for name in work.strong],
        scorer=work.scorer_name,
        totals=totals,
        whole=whole,
        golden=len(scores),
        mean_score=mean(Singles(scores)) if len(scores) > 1 else None,
        median_score=median(scores) if scores else None,
        calls=sum(one.calls for one in spent),
        prompt_tokens=sum(one.prompt_tokens for one in spent),
        completion_tokens=sum(one.completion_tokens for one in spent),
        cost_usd=cost,
        cost_for_row=cost / totals.emitted if totals.emitted else None,
        seconds=work.history.seconds,
    )


def _changed(first: WorkDir, second: WorkDir) -> list[Changed]:
    """The settings that differ; a key that one manifest lacks, as it is older, has its default there."""
    shapes = [{**default_shape(), **work.manifest.shape} for work in (first, second)]
    scoring = step_making(Scored)
    found = []
    for key in differing(*shapes):
        one, other = (shown(key, shape[key]) if key in shape else None for shape in shapes)
        # Another seed is another draw of the same score.
        method = key != "params.seed" and not key.startswith("models.") and scoring.depends_on(key, shapes)
        of_scores = key == "models.mweak" or method
        found.append(Changed(key, one, other, of_scores))
    return found
